// The records of one stream in memory, end to end in one buffer: half the space of a vector of `Record`, and so half
// the fresh pages that a busy journal asks of the system.
#pragma once

#include <aura/core/record.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

namespace aura::detail {

/// Never leaves the process, so it may be as plain as the machine is: fixed fields, then the bytes. `check_batch` sees
/// to it that the sizes fit their fields.
class PackedRecords {
 public:
  std::size_t size() const noexcept { return count_; }
  WallTime first_at() const noexcept { return fields_at(0).at; }
  WallTime last_at() const noexcept { return fields_at(last_).at; }

  void push_back(const Record& record) {
    const bool traced = record.trace != TraceContext{};
    const Fields fields{record.at,
                        static_cast<std::uint32_t>(record.payload.size()),
                        record.attempt,
                        record.schema,
                        static_cast<std::uint8_t>(record.type.size()),
                        static_cast<std::uint8_t>(record.encoding.size()),
                        traced};
    last_ = bytes_.size();
    const std::size_t end = last_ + sizeof fields + bytes_of(fields);
    if (end > bytes_.capacity()) bytes_.reserve(grown(end));
    bytes_.resize(end);
    char* at = put(bytes_.data() + last_, &fields, sizeof fields);
    if (traced) at = put(at, &record.trace, sizeof record.trace);
    at = put(at, record.type.data(), record.type.size());
    at = put(at, record.encoding.data(), record.encoding.size());
    put(at, record.payload.data(), record.payload.size());
    ++count_;
  }

  std::vector<Record> read(std::uint64_t from, std::size_t max) const {
    std::vector<Record> records;
    if (from >= count_) return records;
    std::size_t offset = 0;
    for (std::uint64_t version = 0; version < from; ++version) offset += sizeof(Fields) + bytes_of(fields_at(offset));
    records.resize(std::min<std::size_t>(max, count_ - static_cast<std::size_t>(from)));
    for (Record& record : records) offset = unpack(offset, record);
    return records;
  }

 private:
  struct Fields {
    WallTime at;
    std::uint32_t payload, attempt;
    std::uint16_t schema;
    std::uint8_t type, encoding;
    bool traced;
  };
  static_assert(std::is_trivially_copyable_v<Fields> && std::is_trivially_copyable_v<TraceContext>);

  static std::size_t bytes_of(const Fields& fields) noexcept {
    return (fields.traced ? sizeof(TraceContext) : 0) + fields.type + fields.encoding + fields.payload;
  }

  static char* put(char* at, const void* from, std::size_t size) noexcept {
    std::memcpy(at, from, size);
    return at + size;
  }

  /// Small steps first: most streams hold few records, and there are many streams.
  std::size_t grown(std::size_t needed) const noexcept {
    return std::max(needed, bytes_.capacity() + bytes_.capacity() / 2);
  }

  Fields fields_at(std::size_t offset) const noexcept {
    Fields fields;
    std::memcpy(&fields, bytes_.data() + offset, sizeof fields);
    return fields;
  }

  std::size_t unpack(std::size_t offset, Record& record) const {
    const Fields fields = fields_at(offset);
    const char* at = bytes_.data() + offset + sizeof fields;
    if (fields.traced) std::memcpy(&record.trace, at, sizeof record.trace);
    at += fields.traced ? sizeof record.trace : 0;
    record.type.assign(at, fields.type);
    record.encoding.assign(at += fields.type, fields.encoding);
    record.payload.assign(at += fields.encoding, fields.payload);
    record.at = fields.at;
    record.attempt = fields.attempt;
    record.schema = fields.schema;
    return offset + sizeof fields + bytes_of(fields);
  }

  std::string bytes_;
  std::size_t count_ = 0, last_ = 0;
};

}  // namespace aura::detail
