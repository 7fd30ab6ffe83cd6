# One function for every executable of ours.

# aura_program(<target> <source>...) links aura::aura and each integration that a source, or a header beside it,
# includes. When one of those is off here, nothing is built, configure says so, and <target> does not exist.
function(aura_program target)
    set(read ${ARGN})
    foreach(source IN LISTS ARGN)
        cmake_path(GET source PARENT_PATH folder)
        cmake_path(ABSOLUTE_PATH folder)
        file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.hpp)
        list(APPEND read ${headers})
    endforeach()
    list(REMOVE_DUPLICATES read)
    aura_missing_integrations(missing ${read})
    if(missing)
        message(STATUS "AURA: SKIPPED ${target}: it includes integrations that are off here: ${missing}")
        return()
    endif()
    aura_used_integrations(used ${read})
    add_executable(${target} ${ARGN})
    target_link_libraries(${target} PRIVATE aura::aura ${used} aura_own)
endfunction()
