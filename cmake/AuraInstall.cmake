# cmake --install: the headers, and a package config with one component for each integration that is on.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(aura_package_folder "${CMAKE_INSTALL_DATADIR}/cmake/aura")

install(DIRECTORY include/aura DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")

install(TARGETS aura EXPORT aura-targets)
install(EXPORT aura-targets NAMESPACE aura:: DESTINATION "${aura_package_folder}")

# Each integration has an export of its own, so that a host loads only what it names.
set(AURA_INTEGRATIONS_ON "")
set(AURA_INTEGRATION_FACTS "")
get_property(aura_on GLOBAL PROPERTY aura_integrations_on)
foreach(name IN LISTS aura_on)
    get_property(package GLOBAL PROPERTY aura_${name}_package)
    get_property(target GLOBAL PROPERTY aura_${name}_target)
    get_property(debian GLOBAL PROPERTY aura_${name}_debian)
    string(APPEND AURA_INTEGRATIONS_ON " ${name}")
    string(APPEND AURA_INTEGRATION_FACTS
        "set(aura_${name}_package ${package})\nset(aura_${name}_target ${target})\nset(aura_${name}_debian ${debian})\n")
    install(TARGETS aura_${name} EXPORT aura-${name}-targets)
    install(EXPORT aura-${name}-targets NAMESPACE aura:: DESTINATION "${aura_package_folder}")
    if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/Find${package}.cmake")
        install(FILES "${CMAKE_CURRENT_LIST_DIR}/Find${package}.cmake" DESTINATION "${aura_package_folder}")
    endif()
endforeach()

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/aura-config.cmake.in" "${PROJECT_BINARY_DIR}/aura-config.cmake"
    INSTALL_DESTINATION "${aura_package_folder}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may change what a host sees.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/aura-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/aura-config.cmake" "${PROJECT_BINARY_DIR}/aura-config-version.cmake"
    "${CMAKE_CURRENT_LIST_DIR}/AuraDependencies.cmake" DESTINATION "${aura_package_folder}")
