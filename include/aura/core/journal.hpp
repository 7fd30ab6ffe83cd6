// What every durable part asks of storage: append-only streams, written atomically and durably, found by index.
#pragma once

#include <aura/core/ids.hpp>
#include <aura/core/record.hpp>
#include <aura/core/result.hpp>

#include <boost/asio/any_completion_handler.hpp>

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Codes of the domain "journal".
enum class journal_errc : std::int32_t {
  version_conflict = 1,    ///< the stream is not at the expected version (permanent): read it again
  fenced = 2,              ///< the stream is held under another token (permanent): someone else drives it now
  lease_lost = 4,          ///< the lease was taken over or released (permanent)
  kind_full = 5,           ///< the batch would exceed its own limit of open streams of a kind (rejected)
  queue_full = 6,          ///< too many operations wait (rejected)
  effect_failed = 7,       ///< the batch's effect refused with an error of no class of its own, or threw
  effect_unsupported = 8,  ///< this journal has no transaction that an effect could join (permanent)
  newer_format = 9,        ///< written by a later version of this library (permanent)
  corrupt = 10,            ///< what was read is not what was written (permanent)
  read_only = 11,          ///< (permanent)
  full = 12,               ///< no room on the disk or over its quota (transient)
  io = 13,                 ///< the storage failed (transient)
  locked = 14,             ///< another process holds the database (transient)
  closed = 15,             ///< the journal was closed (permanent)
  bad_batch = 16,          ///< the batch contradicts itself (permanent): an empty name, a stream twice
};
constexpr std::string_view error_domain(journal_errc) noexcept { return "journal"; }

/// Search attributes: name and value, each name once. The journal finds streams by equality of values.
using Attributes = std::vector<std::pair<std::string, std::string>>;

/// How a stream is found. Replaces what was said before.
struct StreamIndex {
  std::string state;                     ///< a word of the owner ("running", "stuck")
  bool open = true;                      ///< a closed stream is subject to retention
  std::optional<WallTime> due{};           ///< its earliest timer
  std::optional<Attributes> attributes{};  ///< none: they stay as they are

  friend bool operator==(const StreamIndex&, const StreamIndex&) = default;
};

/// What a batch says when it begins a stream.
struct StreamBirth {
  std::string kind{};    ///< what sort of stream ("saga", "dead_letter"); fixed for its life
  HolderId holder{};     ///< who drives it; empty for a stream that nobody holds
  /// The batch is refused with `kind_full` where this many streams of the kind are open already, with those that it
  /// has opened itself before this one.
  std::uint64_t open_of_kind_max = std::numeric_limits<std::uint64_t>::max();
};

/// One stream's part of a batch.
struct Append {
  std::string stream;
  std::uint64_t expected_version = 0;  ///< how many records it has; 0 begins it, and `birth` must be there
  FencingToken token{};  ///< must be the stream's own; for a new stream it becomes that
  std::vector<Record> records{};  ///< may be empty where only the index changes; a birth has one at least
  std::optional<StreamIndex> index{};  ///< must be there for a new stream
  std::optional<StreamBirth> birth{};
};

/// The open transaction of a journal that has one. A model derives from it and hands out what it has.
struct Transaction {
  virtual ~Transaction() = default;
};

/// Work inside the commit's own transaction: it takes effect if and only if the batch does. Runs on the blocking
/// executor, must be quick, must not call the journal. An error refuses the whole batch with that error.
using Effect = std::function<Result<void>(Transaction&)>;

/// Taken as a whole or not at all. A stream may occur once. Where several things are wrong with it, the first append
/// that is refused decides, and of one append `fenced` comes before `version_conflict`.
struct Batch {
  std::vector<Append> appends{};
  Effect effect{};
};

/// What the journal knows of a stream.
struct StreamHead {
  std::string stream, kind, state;
  bool open = true;
  std::uint64_t version = 0;
  HolderId holder;
  FencingToken token{};
  std::optional<WallTime> due;
  WallTime created{}, updated{};  ///< `at` of its first and of its last record
  Attributes attributes;  ///< sorted by name

  friend bool operator==(const StreamHead&, const StreamHead&) = default;
};

/// Which streams to find: all that are set must hold. Pages are in the order in which the
/// streams began, or, where `due_before` is set, of their due times, and of those that are equal in that order.
struct StreamQuery {
  std::string kind{};  ///< required
  std::optional<std::string> state{};
  std::optional<bool> open{};
  std::optional<WallTime> due_before{};  ///< due at this time or earlier
  Attributes attributes{};
  std::size_t limit = 256;  ///< of a page; at most 10,000
  std::string after{};  ///< `next` of the page before
};

struct StreamPage {
  std::vector<StreamHead> streams;
  std::string next;  ///< empty: this was the last page
};

/// The right to drive streams until `expires`. Two holders never have the same token; a later one is larger.
struct Lease {
  HolderId holder;
  FencingToken token{};
  WallTime expires{};

  friend bool operator==(const Lease&, const Lease&) = default;
};

struct ClaimedStream {
  std::string stream;
  FencingToken token{};  ///< new, larger than any the stream had
  std::uint64_t version = 0;
};

/// Which closed streams to remove: those closed before a time (by `at` of the last record they had then), and those
/// beyond a count, oldest first.
struct Retention {
  std::string kind;
  std::optional<WallTime> closed_before{};
  std::optional<std::uint64_t> closed_kept_max{};
  std::size_t limit = 1000;  ///< removed at most by one call, so that no call holds the writer for long
};

/// Append-only streams. Every operation is asynchronous, takes a completion token and may be called from any thread.
///
/// - `commit(batch, token)` → `Result<void>`: one atomic, durable commit. Completes only once it would survive a power
///   loss. An error leaves everything as it was, but `io` may leave it unknown: the next commit's version check tells.
/// - `read(stream, from_version, max, token)` → `Result<std::vector<Record>>`: records from a version on; empty where
///   there are none (also for an unknown stream).
/// - `head(stream, token)` → `Result<std::optional<StreamHead>>`.
/// - `find(query, token)` → `Result<StreamPage>`: by index.
/// - `acquire_lease(holder, ttl, now, token)` → `Result<Lease>`: a new token. Taking one's own name again succeeds at
///   once and fences off the former incarnation's *lease*; its streams are fenced as they are claimed.
/// - `renew_lease(lease, ttl, now, token)` → `Result<Lease>`: the same token, later expiry; `lease_lost` where it is gone.
/// - `release_lease(lease, token)` → `Result<void>`: what it held can be claimed at once.
/// - `claim(lease, streams, now, token)` → `Result<std::vector<ClaimedStream>>`: those of the streams that are open and
///   nobody's, the holder's own, or of a holder whose lease has run out by `now`; the others are left out. One commit.
/// - `prune(retention, token)` → `Result<std::size_t>`: how many closed streams were removed.
///
/// Safety rests on tokens and never on clocks: a commit under an old token is refused whatever the time is. The clocks
/// of holders only decide how soon a dead one's streams can be claimed.
template <class J>
concept journal = requires(J& log, Batch batch, const std::string& stream, std::uint64_t version, std::size_t max,
                           const StreamQuery& query, const HolderId& holder, const Lease& lease, Duration ttl,
                           WallTime now, std::vector<std::string> streams, const Retention& retention,
                           boost::asio::any_completion_handler<void(Result<void>)> on_done,
                           boost::asio::any_completion_handler<void(Result<std::vector<Record>>)> on_records,
                           boost::asio::any_completion_handler<void(Result<std::optional<StreamHead>>)> on_head,
                           boost::asio::any_completion_handler<void(Result<StreamPage>)> on_page,
                           boost::asio::any_completion_handler<void(Result<Lease>)> on_lease,
                           boost::asio::any_completion_handler<void(Result<std::vector<ClaimedStream>>)> on_claimed,
                           boost::asio::any_completion_handler<void(Result<std::size_t>)> on_count) {
  log.commit(std::move(batch), std::move(on_done));
  log.read(stream, version, max, std::move(on_records));
  log.head(stream, std::move(on_head));
  log.find(query, std::move(on_page));
  log.acquire_lease(holder, ttl, now, std::move(on_lease));
  log.renew_lease(lease, ttl, now, std::move(on_lease));
  log.release_lease(lease, std::move(on_done));
  log.claim(lease, std::move(streams), now, std::move(on_claimed));
  log.prune(retention, std::move(on_count));
};

}  // namespace aura
