// The few primitives that binary formats of this library are made of. Reading never trusts.
#pragma once

#include <aura/core/error.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aura::detail {

/// Appends LEB128 varints, zigzag for signed, length-prefixed text.
class WireWriter {
 public:
  explicit WireWriter(std::string& out) : out_(out) {}

  void byte(std::uint8_t value) { out_ += static_cast<char>(value); }
  void varint(std::uint64_t value) {
    if (value < 0x80) return byte(static_cast<std::uint8_t>(value));
    char buffer[varint_bytes_max];
    out_.append(buffer, put(buffer, value));
  }
  /// Two bytes and a varint, in one go.
  void bytes_and_varint(std::uint8_t first, std::uint8_t second, std::uint64_t value) {
    char buffer[2 + varint_bytes_max] = {static_cast<char>(first), static_cast<char>(second)};
    out_.append(buffer, 2 + put(buffer + 2, value));
  }
  void zigzag(std::int64_t value) {
    varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  void text(std::string_view value) {
    varint(value.size());
    out_.append(value);
  }
  void error(const Error& value) {
    text(value.domain());
    zigzag(value.code());
    byte(static_cast<std::uint8_t>(value.error_class()));
    text(value.message());
  }

 private:
  static constexpr std::size_t varint_bytes_max = 10;

  static std::size_t put(char* at, std::uint64_t value) noexcept {
    std::size_t size = 0;
    for (; value >= 0x80; value >>= 7) at[size++] = static_cast<char>(value | 0x80);
    at[size++] = static_cast<char>(value);
    return size;
  }

  std::string& out_;
};

/// Reads what WireWriter wrote. After the first fault every read gives zero or nothing, and `ok()` is false.
class WireReader {
 public:
  explicit WireReader(std::string_view in) : in_(in) {}

  bool ok() const noexcept { return ok_; }
  bool at_end() const noexcept { return in_.empty(); }
  void fail() noexcept {
    ok_ = false;
    in_ = {};
  }

  std::uint8_t byte() {
    if (in_.empty()) return fail(), std::uint8_t{0};
    const auto value = static_cast<std::uint8_t>(in_.front());
    in_.remove_prefix(1);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::uint8_t next = byte();
      if (shift == 63 && next > 1) break;
      value |= std::uint64_t{next & 0x7Fu} << shift;
      if (next < 0x80) return ok_ ? value : 0;
    }
    return fail(), 0;
  }
  std::int64_t zigzag() {
    const std::uint64_t value = varint();
    return static_cast<std::int64_t>((value >> 1) ^ (0 - (value & 1)));
  }
  std::uint32_t small() {
    const std::uint64_t value = varint();
    if (value > 0xFFFFFFFFu) return fail(), 0;
    return static_cast<std::uint32_t>(value);
  }
  std::string_view text() {
    const std::uint64_t size = varint();
    if (size > in_.size()) return fail(), std::string_view{};
    const std::string_view value = in_.substr(0, size);
    in_.remove_prefix(size);
    return value;
  }
  std::optional<Error> error() {
    const std::string_view domain = text();
    const std::int64_t code = zigzag();
    const std::uint8_t error_class = byte();
    const std::string_view message = text();
    if (code != static_cast<std::int32_t>(code) || error_class > static_cast<std::uint8_t>(ErrorClass::rejected))
      fail();
    if (!ok_) return std::nullopt;
    return Error(domain, static_cast<std::int32_t>(code), static_cast<ErrorClass>(error_class), std::string(message));
  }

 private:
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace aura::detail
