// The default codec: JSON, for every type that nlohmann's library can convert both ways.
#pragma once

#include <aura/core/codec.hpp>

#include <nlohmann/json.hpp>

namespace aura {

namespace detail {
template <class T>
concept json_convertible = std::default_initializable<T> && requires(nlohmann::json json, const T& value, T& out) {
  nlohmann::adl_serializer<T>::to_json(json, value);
  nlohmann::adl_serializer<T>::from_json(std::as_const(json), out);
};
}  // namespace detail

/// Any type with `to_json` and `from_json` (NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE writes both).
template <class T>
  requires detail::json_convertible<T>
struct Codec<T> {
  static constexpr std::string_view encoding = "json";

  /// \throws nlohmann::json::type_error where a string is not UTF-8.
  static std::string encode(const T& value) { return nlohmann::json(value).dump(); }

  /// core_errc::bad_encoding with the parser's own line.
  static Result<T> decode(std::string_view bytes) try {
    return nlohmann::json::parse(bytes).template get<T>();
  } catch (const nlohmann::json::exception& fault) {
    return Error{core_errc::bad_encoding, ErrorClass::permanent, fault.what()};
  }
};

}  // namespace aura
