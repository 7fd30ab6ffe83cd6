// What every journal refuses, and in which words: rules of the concept that need no storage to be checked.
#pragma once

#include <aura/core/journal.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace aura::detail {

inline constexpr std::size_t stream_name_bytes_max = 512;
inline constexpr std::size_t record_word_bytes_max = 255;  ///< of a type, of an encoding
inline constexpr std::size_t payload_bytes_max = std::size_t{256} << 20;
inline constexpr std::size_t appends_of_batch_max = 4096;
inline constexpr std::size_t find_limit_max = 10'000;
inline constexpr std::size_t claim_streams_max = 10'000;
/// Tokens fit a signed 64-bit column, with room above the largest for the next.
inline constexpr std::uint64_t fencing_token_max = std::numeric_limits<std::int64_t>::max() / 2;
/// A lease that ran out so long ago is removed when the next one is acquired, so that their number stays bounded.
inline constexpr Duration lease_forgotten_after = std::chrono::hours(24);

inline std::string in_quotes(std::string_view name) {
  std::string text = "\"";
  return text.append(name.substr(0, 120)).append(name.size() > 120 ? "…\"" : "\"");
}

inline Error bad_batch(std::string message) {
  return Error(journal_errc::bad_batch, ErrorClass::permanent, std::move(message));
}

inline Error no_such_stream(std::string_view stream) {
  return Error(journal_errc::version_conflict, ErrorClass::permanent, "there is no stream " + in_quotes(stream));
}

inline Error stream_exists(std::string_view stream) {
  return Error(journal_errc::version_conflict, ErrorClass::permanent,
               "stream " + in_quotes(stream) + " was begun already");
}

inline Error version_conflict(std::string_view stream, std::uint64_t actual, std::uint64_t expected) {
  return Error(journal_errc::version_conflict, ErrorClass::permanent,
               "stream " + in_quotes(stream) + " is at version " + std::to_string(actual) +
                   ", and the batch expects " + std::to_string(expected));
}

inline Error fenced(std::string_view stream, FencingToken actual, FencingToken given) {
  return Error(journal_errc::fenced, ErrorClass::permanent,
               "stream " + in_quotes(stream) + " is held under token " +
                   std::to_string(static_cast<std::uint64_t>(actual)) + ", and the batch has token " +
                   std::to_string(static_cast<std::uint64_t>(given)));
}

inline Error kind_full(std::string_view kind, std::uint64_t max) {
  return Error(journal_errc::kind_full, ErrorClass::rejected,
               "as many streams of kind " + in_quotes(kind) + " are open as may be (" + std::to_string(max) + ")");
}

inline Error lease_lost(const HolderId& holder) {
  return Error(journal_errc::lease_lost, ErrorClass::permanent,
               "the lease of " + in_quotes(holder.str()) + " was released or taken over");
}

inline Error journal_closed() noexcept {
  return Error::fixed(journal_errc::closed, ErrorClass::permanent, "the journal is closed");
}

/// Attributes sorted by name; an error where a name is empty or there twice.
inline Result<void> sort_attributes(std::string_view stream, Attributes& attributes) {
  std::sort(attributes.begin(), attributes.end());
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    if (attributes[i].first.empty()) return bad_batch("an attribute of " + in_quotes(stream) + " has no name");
    if (i > 0 && attributes[i].first == attributes[i - 1].first)
      return bad_batch("attribute " + in_quotes(attributes[i].first) + " of " + in_quotes(stream) +
                       " is there twice");
  }
  return {};
}

inline Result<void> check_records(const Append& append) {
  for (const Record& record : append.records) {
    if (record.type.size() > record_word_bytes_max || record.encoding.size() > record_word_bytes_max)
      return bad_batch("a record of " + in_quotes(append.stream) + " has a type or encoding of more than " +
                       std::to_string(record_word_bytes_max) + " bytes");
    if (record.payload.size() > payload_bytes_max)
      return bad_batch("a payload of " + std::to_string(record.payload.size()) + " bytes in " +
                       in_quotes(append.stream) + " is over the limit of " + std::to_string(payload_bytes_max));
  }
  return {};
}

inline Result<void> check_birth(const Append& append) {
  if (!append.birth)
    return append.expected_version == 0
               ? bad_batch("the batch begins stream " + in_quotes(append.stream) + " without a birth")
               : Result<void>();
  if (append.expected_version != 0)
    return bad_batch("the birth of " + in_quotes(append.stream) + " expects a version other than 0");
  if (!append.index) return bad_batch("the birth of " + in_quotes(append.stream) + " has no index");
  if (append.records.empty()) return bad_batch("the birth of " + in_quotes(append.stream) + " has no record");
  if (append.birth->kind.empty()) return bad_batch("the birth of " + in_quotes(append.stream) + " names no kind");
  if (static_cast<std::uint64_t>(append.token) > fencing_token_max)
    return bad_batch("the token of " + in_quotes(append.stream) + " is no token of a journal");
  return {};
}

inline Result<void> check_distinct_streams(const Batch& batch) {
  std::vector<std::string_view> names;
  names.reserve(batch.appends.size());
  for (const Append& append : batch.appends) names.push_back(append.stream);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return bad_batch("stream " + in_quotes(*twice) + " occurs twice in the batch");
  return {};
}

/// What makes a batch `bad_batch` whatever the journal holds. Sorts its attributes.
inline Result<void> check_batch(Batch& batch) {
  if (batch.appends.size() > appends_of_batch_max)
    return bad_batch("a batch of " + std::to_string(batch.appends.size()) + " streams is over the limit of " +
                     std::to_string(appends_of_batch_max));
  for (Append& append : batch.appends) {
    if (append.stream.empty()) return bad_batch("a stream of the batch has no name");
    if (append.stream.size() > stream_name_bytes_max)
      return bad_batch("the stream name " + in_quotes(append.stream) + " is over the limit of " +
                       std::to_string(stream_name_bytes_max) + " bytes");
    if (auto sound = check_records(append); !sound) return sound;
    if (auto sound = check_birth(append); !sound) return sound;
    if (append.index && append.index->attributes)
      if (auto sorted = sort_attributes(append.stream, *append.index->attributes); !sorted) return sorted;
  }
  if (batch.appends.size() > 1) return check_distinct_streams(batch);
  return {};
}

/// How many earlier births of the batch would open a stream of the same kind.
inline std::uint64_t opened_before(const Batch& batch, std::size_t position) {
  const std::string& kind = batch.appends[position].birth->kind;
  std::uint64_t opened = 0;
  for (std::size_t i = 0; i < position; ++i) {
    const Append& earlier = batch.appends[i];
    if (earlier.birth && earlier.index->open && earlier.birth->kind == kind) ++opened;
  }
  return opened;
}

inline Result<void> check_kind(std::string_view kind) {
  if (kind.empty()) return bad_batch("no kind of stream is named");
  return {};
}

inline Result<void> check_holder(const HolderId& holder) {
  if (holder.empty())
    return Error::fixed(core_errc::bad_identifier, ErrorClass::permanent,
                        "a lease needs a holder, and none is named");
  return {};
}

inline Result<void> check_claim(const Lease& lease, const std::vector<std::string>& streams) {
  if (streams.size() > claim_streams_max)
    return bad_batch("a claim of " + std::to_string(streams.size()) + " streams is over the limit of " +
                     std::to_string(claim_streams_max));
  return check_holder(lease.holder);
}

/// Where a page ended: at a stream, by the number it got when it began, and its due time where that orders the page.
struct PageCursor {
  std::int64_t number = 0;
  WallTime due = WallTime::min();
};

/// "<number>" or "<number>:<nanoseconds>".
inline std::string to_text(const PageCursor& cursor, bool by_due) {
  std::string text = std::to_string(cursor.number);
  return by_due ? text.append(":").append(std::to_string(cursor.due.time_since_epoch().count())) : text;
}

/// Before all streams where the text is empty.
inline Result<PageCursor> parse_cursor(std::string_view text, bool by_due) {
  PageCursor cursor;
  if (text.empty()) return cursor;
  std::int64_t due = cursor.due.time_since_epoch().count();
  const char* const end = text.data() + text.size();
  auto parsed = std::from_chars(text.data(), end, cursor.number);
  if (parsed.ec == std::errc() && by_due && parsed.ptr != end && *parsed.ptr == ':')
    parsed = std::from_chars(parsed.ptr + 1, end, due);
  if (parsed.ec != std::errc() || parsed.ptr != end || by_due != (text.find(':') != std::string_view::npos))
    return bad_batch(in_quotes(text) + " is not where a page of this query ended");
  cursor.due = WallTime(Duration(due));
  return cursor;
}

}  // namespace aura::detail
