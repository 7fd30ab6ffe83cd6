// A record's envelope as the bytes of one column, with a checksum over the whole record.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/record.hpp>
#include <aura/core/result.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace aura::sqlite::detail {

/// Layout, integers little-endian: at (8), attempt (4), checksum (4), schema (2), flags (1), then the trace context (25)
/// where flag 1 is set, then the encoding's name unless flags 2 and 4 say that it is "binary" (2) or "json" (4).
class RecordMeta {
 public:
  static constexpr std::size_t bytes_fixed = 19, bytes_trace = 25, encoding_bytes_max = 255;

  RecordMeta(const Record& record, std::int64_t stream, std::uint64_t version) {
    put(static_cast<std::uint64_t>(record.at.time_since_epoch().count()), 8);
    put(record.attempt, 4);
    put(0, 4);
    put(record.schema, 2);
    const bool traced = record.trace != TraceContext{};
    put((traced ? 1u : 0u) | flags_of(record.encoding), 1);
    if (traced) {
      append(record.trace.trace_id);
      append(record.trace.parent_id);
      put(record.trace.flags, 1);
    }
    if (flags_of(record.encoding) == 0) append(record.encoding.substr(0, encoding_bytes_max));
    const std::uint32_t sum = checksum(view(), record.type, record.payload, stream, version);
    for (std::size_t i = 0; i < 4; ++i) bytes_[12 + i] = static_cast<char>(sum >> (8 * i));
  }

  std::string_view view() const noexcept { return {bytes_.data(), size_}; }

  /// What the columns hold, or nothing where that is not what was written as this version of this stream.
  static std::optional<Record> decode(std::string_view meta, std::string_view type, std::string_view payload,
                                      std::int64_t stream, std::uint64_t version) {
    if (meta.size() < bytes_fixed || meta.size() > bytes_fixed + bytes_trace + encoding_bytes_max)
      return std::nullopt;
    if (checksum(meta, type, payload, stream, version) != get(meta, 12, 4)) return std::nullopt;
    Record record;
    record.at = at(meta);
    record.attempt = static_cast<std::uint32_t>(get(meta, 8, 4));
    record.schema = static_cast<std::uint16_t>(get(meta, 16, 2));
    const std::uint64_t flags = get(meta, 18, 1);
    std::string_view rest = meta.substr(bytes_fixed);
    if ((flags & 1) != 0 && !take_trace(rest, record.trace)) return std::nullopt;
    if (!take_encoding(flags >> 1, rest, record.encoding)) return std::nullopt;
    record.type = type;
    record.payload = payload;
    return record;
  }

  /// The time alone, without a check: for those who read no payload. 0 where there are too few bytes.
  static WallTime at(std::string_view meta) noexcept {
    return WallTime(Duration(meta.size() < 8 ? 0 : static_cast<std::int64_t>(get(meta, 0, 8))));
  }

 private:
  static unsigned flags_of(std::string_view encoding) noexcept {
    return encoding == "binary" ? 2u : encoding == "json" ? 4u : 0u;
  }

  static bool take_trace(std::string_view& rest, TraceContext& trace) {
    if (rest.size() < bytes_trace) return false;
    std::copy_n(rest.begin(), 16, trace.trace_id.begin());
    std::copy_n(rest.begin() + 16, 8, trace.parent_id.begin());
    trace.flags = static_cast<std::uint8_t>(rest[24]);
    rest.remove_prefix(bytes_trace);
    return true;
  }

  static bool take_encoding(std::uint64_t code, std::string_view rest, std::string& encoding) {
    if (code > 2 || (code != 0 && !rest.empty())) return false;
    encoding = code == 1 ? "binary" : code == 2 ? "json" : rest;
    return true;
  }

  static std::uint64_t get(std::string_view bytes, std::size_t offset, std::size_t count) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(bytes[offset + i])} << (8 * i);
    return value;
  }

  /// Eight bytes a step, each step a bijection of the state: damage within eight bytes always changes it.
  static std::uint64_t hash(std::uint64_t state, std::string_view bytes) noexcept {
    state = mix64(state ^ bytes.size());
    while (bytes.size() >= 8) {
      state = (state ^ get(bytes, 0, 8)) * 0x9E3779B97F4A7C15u;
      state ^= state >> 32;
      bytes.remove_prefix(8);
    }
    return mix64(state ^ get(bytes, 0, bytes.size()));
  }

  static std::uint32_t checksum(std::string_view meta, std::string_view type, std::string_view payload,
                                std::int64_t stream, std::uint64_t version) noexcept {
    std::uint64_t state = mix64(static_cast<std::uint64_t>(stream)) ^ version;
    state = hash(state, meta.substr(0, 12));
    state = hash(state, meta.substr(16));
    return static_cast<std::uint32_t>(hash(hash(state, type), payload));
  }

  void put(std::uint64_t value, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) bytes_[size_++] = static_cast<char>(value >> (8 * i));
  }
  template <class Bytes>
  void append(const Bytes& bytes) noexcept {
    for (const auto byte : bytes) bytes_[size_++] = static_cast<char>(byte);
  }

  std::array<char, bytes_fixed + bytes_trace + encoding_bytes_max> bytes_;
  std::size_t size_ = 0;
};

}  // namespace aura::sqlite::detail
