# Finds GLPK, which comes with no CMake package: gives GLPK::GLPK, GLPK_FOUND and GLPK_VERSION. GLPK is under GPLv3.

include(FindPackageHandleStandardArgs)

find_path(GLPK_INCLUDE_DIR NAMES glpk.h PATH_SUFFIXES glpk)
find_library(GLPK_LIBRARY NAMES glpk)
mark_as_advanced(GLPK_INCLUDE_DIR GLPK_LIBRARY)

if(GLPK_INCLUDE_DIR AND EXISTS "${GLPK_INCLUDE_DIR}/glpk.h")
    file(STRINGS "${GLPK_INCLUDE_DIR}/glpk.h" glpk_lines REGEX "^#define GLP_(MAJOR|MINOR)_VERSION +[0-9]+")
    string(REGEX MATCHALL "[0-9]+" glpk_numbers "${glpk_lines}")
    list(JOIN glpk_numbers "." GLPK_VERSION)
endif()

find_package_handle_standard_args(GLPK REQUIRED_VARS GLPK_LIBRARY GLPK_INCLUDE_DIR VERSION_VAR GLPK_VERSION)

if(GLPK_FOUND AND NOT TARGET GLPK::GLPK)
    add_library(GLPK::GLPK UNKNOWN IMPORTED)
    set_target_properties(GLPK::GLPK PROPERTIES
        IMPORTED_LOCATION "${GLPK_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${GLPK_INCLUDE_DIR}")
endif()
