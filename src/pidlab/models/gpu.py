"""Whether there is a GPU, asked of its driver: no library that could use it need be loaded for that."""

from __future__ import annotations

import ctypes


def gpu_present() -> bool:
    """Returns whether NVIDIA's driver is installed and finds a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
