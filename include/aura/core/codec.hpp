// A value as bytes and back. This header holds the words; `json_codec.hpp` holds the default, which is heavy.
#pragma once

#include <aura/core/result.hpp>

#include <concepts>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

/// How values of `T` are written. Specialise it for a type of your own, or include `json_codec.hpp`, which serves
/// every type with nlohmann's `to_json` and `from_json`:
///
///     static constexpr std::string_view encoding = "…";           // named in every record
///     static std::string encode(const T&);                        // may throw: that is an outcome of the attempt
///     static aura::Result<T> decode(std::string_view bytes);      // parses, never trusts
template <class T>
struct Codec;

/// True where values of `T` can be written to a record and read back.
template <class T>
concept has_codec = requires(const T& value, std::string_view bytes) {
  { Codec<T>::encoding } -> std::convertible_to<std::string_view>;
  { Codec<T>::encode(value) } -> std::convertible_to<std::string>;
  { Codec<T>::decode(bytes) } -> std::same_as<Result<T>>;
};

/// Text that is its own encoding.
template <>
struct Codec<std::string> {
  static constexpr std::string_view encoding = "text";
  static std::string encode(const std::string& value) { return value; }
  static Result<std::string> decode(std::string_view bytes) { return std::string(bytes); }
};

/// What happens to every payload between the codec and the journal: compression, encryption, and a limit.
struct PayloadRules {
  /// Largest encoded value; larger ones are refused with core_errc::too_large, before anything is recorded.
  std::size_t bytes_max = std::size_t{1} << 20;
  /// Both or neither. `restore(transform(x)) == x`, also after a restart, and for values written before a key change.
  std::function<Result<std::string>(std::string)> transform;
  std::function<Result<std::string>(std::string_view)> restore;
};

/// Encodes and applies the rules. A codec that throws gives core_errc::exception.
template <has_codec T>
Result<std::string> encode_payload(const T& value, const PayloadRules& rules) try {
  std::string bytes = Codec<T>::encode(value);
  if (rules.transform) {
    Result<std::string> transformed = rules.transform(std::move(bytes));
    if (!transformed) return transformed;
    bytes = std::move(*transformed);
  }
  if (bytes.size() > rules.bytes_max)
    return Error{core_errc::too_large, ErrorClass::permanent,
                 "a value of " + std::to_string(bytes.size()) + " bytes is over the payload limit of " +
                     std::to_string(rules.bytes_max)};
  return bytes;
} catch (const std::exception& thrown) {
  return Error{core_errc::exception, ErrorClass::permanent, std::string("encoding threw: ") + thrown.what()};
} catch (...) {
  return Error{core_errc::exception, ErrorClass::permanent, "encoding threw something that is no std::exception"};
}

/// Undoes `encode_payload`. A codec that throws gives core_errc::bad_encoding.
template <has_codec T>
Result<T> decode_payload(std::string_view bytes, const PayloadRules& rules) try {
  if (!rules.restore) return Codec<T>::decode(bytes);
  Result<std::string> restored = rules.restore(bytes);
  if (!restored) return restored.error();
  return Codec<T>::decode(*restored);
} catch (const std::exception& thrown) {
  return Error{core_errc::bad_encoding, ErrorClass::permanent, std::string("decoding threw: ") + thrown.what()};
} catch (...) {
  return Error{core_errc::bad_encoding, ErrorClass::permanent, "decoding threw something that is no std::exception"};
}

}  // namespace aura
