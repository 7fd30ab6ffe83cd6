# The compiler that AURA needs, and the flags of AURA's own build. None of these flags reaches a user's target.

set(AURA_SANITIZE "" CACHE STRING "Sanitizers for our own targets, such as address,undefined or thread")

function(aura_check_compiler)
    set(needs_GNU 12)
    set(needs_Clang 16)
    set(needed "${needs_${CMAKE_CXX_COMPILER_ID}}")
    if(needed AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS needed)
        message(FATAL_ERROR "AURA needs g++ 12 or clang++ 16 or later; "
            "${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
    endif()
endfunction()

# Called only when something of ours is compiled: tests, examples or benchmarks.
macro(aura_own_build)
    set(CMAKE_CXX_STANDARD 20)
    set(CMAKE_CXX_STANDARD_REQUIRED ON)
    set(CMAKE_CXX_EXTENSIONS OFF)
    aura_default_build_type()
    aura_use_ccache()
    aura_own_flags()
endmacro()

function(aura_default_build_type)
    get_property(multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
    if(NOT multi AND NOT CMAKE_BUILD_TYPE)
        set_property(CACHE CMAKE_BUILD_TYPE PROPERTY VALUE RelWithDebInfo)
        message(STATUS "AURA: no build type was named: RelWithDebInfo")
    endif()
endfunction()

# ccache keeps what a precompiled header would otherwise make it refuse, and ignores the name of the build folder,
# so that two build folders share what they have in common.
macro(aura_use_ccache)
    if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
        find_program(AURA_CCACHE ccache)
        mark_as_advanced(AURA_CCACHE)
        if(AURA_CCACHE)
            set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1
                CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${AURA_CCACHE})
        endif()
    endif()
endmacro()

# aura_own: what every executable of ours links, and nobody else.
function(aura_own_flags)
    add_library(aura_own INTERFACE)
    # clang++ counts -Wsign-conversion as part of -Wconversion; g++ is told, so that both refuse the same.
    target_compile_options(aura_own INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(aura_own INTERFACE -fpch-preprocess)
        if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
            # At -O1 it is often wrong about a std::optional that holds nothing; clang++ looks too.
            target_compile_options(aura_own INTERFACE -Wno-maybe-uninitialized)
        endif()
    elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
        target_compile_options(aura_own INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
    endif()
    if(AURA_SANITIZE)
        target_compile_options(aura_own INTERFACE
            -fsanitize=${AURA_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
        target_link_options(aura_own INTERFACE -fsanitize=${AURA_SANITIZE})
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            # Asio's fences: the thread sanitizer of g++ 12 says that it does not see them.
            target_compile_options(aura_own INTERFACE -Wno-maybe-uninitialized -Wno-tsan)
        endif()
    endif()
    # g++ warns of instrumented code that is fine, so there warnings are not errors.
    if(NOT AURA_SANITIZE OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(aura_own INTERFACE -Werror)
    endif()
endfunction()
