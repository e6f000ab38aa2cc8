"""What some processors lack."""

import pytest

from asr.bfloat16 import has_bfloat16

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
