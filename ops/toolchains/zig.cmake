# For another system, or for an older C library than this one's, by the Clang of `zig`, which PyPI's
# `ziglang` holds.
# LFM_ZIG_TARGET names it, such as aarch64-macos, x86_64-windows-gnu or x86_64-linux-gnu.2.28.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LFM_ZIG_TARGET)
string(REGEX MATCH "^([^-]+)-([^-]+)" target "${LFM_ZIG_TARGET}")
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
if(CMAKE_MATCH_2 STREQUAL "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(CMAKE_MATCH_2 STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()

find_program(LFM_ZIG zig REQUIRED)
set(CMAKE_CXX_COMPILER ${LFM_ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET ${LFM_ZIG_TARGET})
# It is several programs in one, which CMAKE_AR cannot say.
set(CMAKE_CXX_ARCHIVE_CREATE "\"${LFM_ZIG}\" ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "\"${LFM_ZIG}\" ranlib <TARGET>")
# Linking builds the C++ library first, which takes minutes: not where only a test compiles.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(LFM_OPS_ARMV8_2 -mcpu=generic) # zig has CPUs in place of -march
