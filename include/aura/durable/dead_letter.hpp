// Dead letters as records: how they are written, bounded and closed. Each is a stream of its own, whose record 0 is the
// letter; later ones say what was done about it.
#pragma once

#include <aura/core/dead_letter_sink.hpp>
#include <aura/core/detail/wire.hpp>
#include <aura/core/journal.hpp>
#include <aura/core/result.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

inline constexpr std::string_view dead_letter_kind = "dead_letter";

/// How a queue is bounded.
struct DeadLetterLimits {
  std::string queue = "default";
  /// Open letters in the journal, of all queues together. At the limit a new letter is refused with `kind_full`;
  /// nothing is ever evicted.
  std::uint64_t open_max = 100'000;
  /// A letter that came back this often is quarantined: no bulk redrive touches it.
  std::uint32_t redrives_max = 3;
};

inline std::string dead_letter_stream(std::string_view id) { return "dead/" + std::string(id); }

namespace detail {

inline constexpr std::uint16_t dead_letter_schema = 1;

inline Record encode_dead_letter(const DeadLetter& letter) {
  Record record{.type = "dead.letter", .schema = dead_letter_schema, .at = letter.last_failure};
  record.attempt = letter.attempts;
  WireWriter out(record.payload);
  for (const std::string* text :
       {&letter.id, &letter.queue, &letter.source, &letter.what, &letter.redrive, &letter.payload})
    out.text(*text);
  out.error(letter.error);
  out.varint(letter.attempts);
  out.varint(letter.redrives);
  out.zigzag(letter.first_failure.time_since_epoch().count());
  out.zigzag(letter.last_failure.time_since_epoch().count());
  return record;
}

inline Result<DeadLetter> decode_dead_letter(const Record& record) {
  if (record.type != "dead.letter" || record.schema > dead_letter_schema)
    return Error{record.schema > dead_letter_schema ? core_errc::newer_format : core_errc::bad_encoding,
                 ErrorClass::permanent,
                 "a record of type \"" + record.type.substr(0, 40) + "\" schema " + std::to_string(record.schema) +
                     " where a dead letter should be"};
  DeadLetter letter;
  WireReader in(record.payload);
  for (std::string* text :
       {&letter.id, &letter.queue, &letter.source, &letter.what, &letter.redrive, &letter.payload})
    *text = in.text();
  if (const auto error = in.error()) letter.error = *error;
  letter.attempts = in.small();
  letter.redrives = in.small();
  letter.first_failure = WallTime(Duration(in.zigzag()));
  letter.last_failure = WallTime(Duration(in.zigzag()));
  if (!in.ok() || !in.at_end())
    return Error{core_errc::bad_encoding, ErrorClass::permanent, "a dead letter that does not parse"};
  return letter;
}

}  // namespace detail

/// The part of a batch that writes a letter: put it into the commit of what failed.
inline Append write_dead_letter(const DeadLetter& letter, const DeadLetterLimits& limits) {
  Append append{.stream = dead_letter_stream(letter.id)};
  append.records.push_back(detail::encode_dead_letter(letter));
  StreamIndex index{.state = letter.redrives >= limits.redrives_max ? "quarantined" : "pending"};
  index.attributes = Attributes{{"class", std::string(to_string(letter.error.error_class()))},
                                {"queue", letter.queue},
                                {"source", letter.source}};
  append.index = std::move(index);
  append.birth =
      StreamBirth{.kind = std::string(dead_letter_kind), .holder = {}, .open_of_kind_max = limits.open_max};
  return append;
}

/// The part of a batch that closes a letter, in the commit of what was done about it. `state` tells how
/// ("redriven", "resolved", "purged"); `reason` is kept for the audit.
inline Append close_dead_letter(std::string_view id, std::uint64_t version, std::string state, std::string reason,
                                WallTime at) {
  Append append{.stream = dead_letter_stream(id), .expected_version = version};
  append.records.push_back({.type = "dead.closed", .at = at, .payload = std::move(reason)});
  append.index = StreamIndex{.state = std::move(state), .open = false};
  return append;
}

}  // namespace aura
