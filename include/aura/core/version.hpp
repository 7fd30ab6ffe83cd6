#pragma once

#include <boost/version.hpp>

#include <string_view>

// The one place that states AURA's version: CMake reads it from here.
#define AURA_VERSION_MAJOR 0
#define AURA_VERSION_MINOR 1
#define AURA_VERSION_PATCH 0

#if BOOST_VERSION < 108100
#error "AURA needs the headers of Boost 1.81 or later (Debian 12: libboost1.81-dev)"
#endif

#define AURA_DETAIL_TEXT(x) #x
#define AURA_DETAIL_VERSION(major, minor, patch) \
  AURA_DETAIL_TEXT(major) "." AURA_DETAIL_TEXT(minor) "." AURA_DETAIL_TEXT(patch)

namespace aura {

/// The version of the headers that this file was compiled with, as "major.minor.patch".
inline constexpr std::string_view library_version =
    AURA_DETAIL_VERSION(AURA_VERSION_MAJOR, AURA_VERSION_MINOR, AURA_VERSION_PATCH);

} // namespace aura

#undef AURA_DETAIL_VERSION
#undef AURA_DETAIL_TEXT
