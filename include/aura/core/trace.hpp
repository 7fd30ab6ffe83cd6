// W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1): carried through every record, so that a
// run that was resumed days later still belongs to the request that began it.
#pragma once

#include <aura/core/ids.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace aura {

/// A parsed `traceparent`. All zero means: there is none.
struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> parent_id{};
  std::uint8_t flags = 0;  ///< bit 0: sampled

  bool valid() const noexcept { return trace_id != decltype(trace_id){} && parent_id != decltype(parent_id){}; }
  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

namespace detail {

constexpr int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;  // the specification forbids upper case
}

template <std::size_t N>
constexpr bool parse_hex(std::string_view text, std::array<std::uint8_t, N>& out) noexcept {
  if (text.size() != 2 * N) return false;
  for (std::size_t i = 0; i < N; ++i) {
    const int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return true;
}

template <std::size_t N>
void append_hex(std::string& text, const std::array<std::uint8_t, N>& bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
}

}  // namespace detail

/// core_errc::bad_encoding where the header is not a valid `traceparent`. A version above 00 is read by its first
/// four fields, as the specification asks.
inline Result<TraceContext> parse_traceparent(std::string_view header) {
  TraceContext trace;
  std::array<std::uint8_t, 1> version{}, flags{};
  const bool sound = header.size() >= 55 && header[2] == '-' && header[35] == '-' && header[52] == '-' &&
                     detail::parse_hex(header.substr(0, 2), version) && version[0] != 0xFF &&
                     (header.size() == 55 || (version[0] != 0 && header[55] == '-')) &&
                     detail::parse_hex(header.substr(3, 32), trace.trace_id) &&
                     detail::parse_hex(header.substr(36, 16), trace.parent_id) &&
                     detail::parse_hex(header.substr(53, 2), flags);
  trace.flags = flags[0];
  if (!sound || !trace.valid())
    return Error{core_errc::bad_encoding, ErrorClass::permanent,
                 "\"" + std::string(header.substr(0, 80)) + "\" is not a W3C traceparent"};
  return trace;
}

/// "00-<trace id>-<parent id>-<flags>"
inline std::string to_traceparent(const TraceContext& trace) {
  std::string header = "00-";
  detail::append_hex(header, trace.trace_id);
  header += '-';
  detail::append_hex(header, trace.parent_id);
  header += '-';
  detail::append_hex(header, std::array<std::uint8_t, 1>{trace.flags});
  return header;
}

}  // namespace aura
