// The work of a DeadLetterQueue: chains of journal operations, each a small object that lives until its answer.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/exception.hpp>
#include <aura/core/runtime.hpp>
#include <aura/durable/dead_letter.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Which letters: all that are set must hold.
struct DeadLetterFilter {
  std::optional<std::string> queue{}, source{};
  std::optional<ErrorClass> error_class{};
  std::optional<std::string> state{};  ///< "pending", "quarantined"; none: any that is open
  std::size_t limit = 100;             ///< of a page
  std::string after{};
};

struct DeadLetterEntry {
  DeadLetter letter;
  std::string state;
  std::uint32_t failed_redrives = 0;  ///< of this letter, besides those before it came back as a new one
};

struct DeadLetterPage {
  std::vector<DeadLetterEntry> letters;
  std::string next;
};

struct RedriveReport {
  std::size_t redriven = 0, failed = 0;
};

/// Sends a letter's work again and says, once, whether that was taken up.
using Redriver = std::function<void(const DeadLetter&, std::function<void(Result<void>)> done)>;

namespace detail {

template <journal Journal>
struct DeadLetterDesk {
  DeadLetterDesk(AnyRuntime runtime, Journal& storage, DeadLetterLimits chosen)
      : world(runtime), log(storage), limits(std::move(chosen)), executor(runtime.executor()) {}

  AnyRuntime world;
  Journal& log;
  DeadLetterLimits limits;
  boost::asio::any_io_executor executor;
};
template <journal Journal>
using DeskPtr = std::shared_ptr<DeadLetterDesk<Journal>>;

inline constexpr std::size_t letter_records_max = 10'000;

/// A letter as its stream tells it. `version` is how many records there were.
struct ReadLetter {
  DeadLetterEntry entry;
  std::uint64_t version = 0;
};

inline Result<ReadLetter> fold_letter(const std::string& id, const std::vector<Record>& records) {
  if (records.empty())
    return Error{core_errc::bad_identifier, ErrorClass::permanent, "there is no dead letter " + id};
  Result<DeadLetter> letter = decode_dead_letter(records.front());
  if (!letter) return letter.error();
  ReadLetter read{{std::move(*letter), {}, 0}, records.size()};
  for (const Record& record : records)
    if (record.type == "dead.redrive_failed") ++read.entry.failed_redrives;
  if (records.back().type == "dead.closed")
    return Error{core_errc::bad_identifier, ErrorClass::permanent, "dead letter " + id + " is closed"};
  return read;
}

/// Reads one letter and calls `then(Result<ReadLetter>)`.
template <journal Journal, class Then>
void read_letter(const DeskPtr<Journal>& desk, const std::string& id, Then then) {
  desk->log.read(dead_letter_stream(id), 0, letter_records_max,
                 boost::asio::bind_executor(
                     desk->executor, [id, then = std::move(then)](Result<std::vector<Record>> records) mutable {
                       if (!records)
                         then(Result<ReadLetter>(records.error()));
                       else
                         then(fold_letter(id, *records));
                     }));
}

/// Appends a note to a letter's stream and calls `then(Result<void>)`.
template <journal Journal, class Then>
void append_note(const DeskPtr<Journal>& desk, const std::string& id, std::uint64_t version, Record note,
                 StreamIndex index, Then then) {
  note.at = desk->world.wall_now();
  Append append{.stream = dead_letter_stream(id), .expected_version = version};
  append.records.push_back(std::move(note));
  append.index = std::move(index);
  Batch batch;
  batch.appends.push_back(std::move(append));
  desk->log.commit(std::move(batch), boost::asio::bind_executor(desk->executor, std::move(then)));
}

template <journal Journal>
void note_letter(DeskPtr<Journal> desk, const std::string& id, Record note, StreamIndex index,
                 PendingHandler<Result<void>> pending) {
  auto answer = std::make_shared<PendingHandler<Result<void>>>(std::move(pending));
  read_letter(desk, id, [desk, id, note, index, answer](Result<ReadLetter> letter) {
    if (!letter) return answer->answer(letter.error());
    append_note(desk, id, letter->version, note, index,
                [answer](Result<void> outcome) { answer->answer(std::move(outcome)); });
  });
}

// Redriving one.

/// Closes it, or counts the failure. One who has closed it in the meantime (the work's own commit) is welcome.
template <journal Journal, class Done>
void redrive_ended(const DeskPtr<Journal>& desk, const ReadLetter& read, Result<void> outcome, Done done) {
  const std::string& id = read.entry.letter.id;
  if (outcome)
    return append_note(desk, id, read.version, {.type = "dead.closed", .payload = "redriven"},
                       StreamIndex{.state = "redriven", .open = false}, [done](Result<void> closed) {
                         const bool elsewhere = !closed && closed.error().is(journal_errc::version_conflict);
                         done(elsewhere ? Result<void>{} : std::move(closed));
                       });
  const std::uint32_t failures = read.entry.letter.redrives + read.entry.failed_redrives + 1;
  const bool give_up = failures >= desk->limits.redrives_max;
  append_note(desk, id, read.version, {.type = "dead.redrive_failed", .payload = to_string(outcome.error())},
              StreamIndex{.state = give_up ? "quarantined" : "pending"},
              [done, error = outcome.error()](Result<void>) { done(error); });
}

template <journal Journal, class Done>
void redrive_letter(DeskPtr<Journal> desk, const std::string& id, const Redriver& redriver, Done done) {
  read_letter(desk, id, [desk, redriver, done](Result<ReadLetter> read) {
    if (!read) return done(Result<void>(read.error()));
    auto letter = std::make_shared<const ReadLetter>(std::move(*read));
    auto once = std::make_shared<bool>(false);
    const auto ended = [desk, letter, done, once](Result<void> outcome) {
      if (!std::exchange(*once, true)) redrive_ended(desk, *letter, std::move(outcome), done);
    };
    try {
      redriver(letter->entry.letter, ended);
    } catch (...) {
      ended(error_of_current_exception("the redriver"));
    }
  });
}

// Listing.

inline StreamQuery letters_query(const DeadLetterFilter& filter) {
  StreamQuery query{.kind = std::string(dead_letter_kind), .state = filter.state, .open = true};
  if (filter.queue) query.attributes.emplace_back("queue", *filter.queue);
  if (filter.source) query.attributes.emplace_back("source", *filter.source);
  if (filter.error_class) query.attributes.emplace_back("class", std::string(to_string(*filter.error_class)));
  query.limit = filter.limit;
  query.after = filter.after;
  return query;
}

inline std::string id_of_letter(const StreamHead& head) { return head.stream.substr(dead_letter_stream("").size()); }

template <journal Journal>
struct ListLetters : std::enable_shared_from_this<ListLetters<Journal>> {
  ListLetters(DeskPtr<Journal> where, PendingHandler<Result<DeadLetterPage>> pending)
      : desk(std::move(where)), answer(std::move(pending)) {}

  void begin(const DeadLetterFilter& filter) {
    desk->log.find(
        letters_query(filter),
        boost::asio::bind_executor(desk->executor, [self = this->shared_from_this()](Result<StreamPage> found) {
          if (!found) return self->answer.answer(found.error());
          self->heads = std::move(found->streams);
          self->page.next = std::move(found->next);
          self->next();
        }));
  }

  void next() {
    if (taken == heads.size()) return answer.answer(std::move(page));
    const StreamHead& head = heads[taken++];
    read_letter(desk, id_of_letter(head),
                [self = this->shared_from_this(), state = head.state](Result<ReadLetter> read) {
                  if (read) {  // one that was closed since is no longer there
                    self->page.letters.push_back(std::move(read->entry));
                    self->page.letters.back().state = state;
                  }
                  self->next();
                });
  }

  DeskPtr<Journal> desk;
  PendingHandler<Result<DeadLetterPage>> answer;
  std::vector<StreamHead> heads;
  std::size_t taken = 0;
  DeadLetterPage page;
};

template <journal Journal>
void list_letters(DeskPtr<Journal> desk, const DeadLetterFilter& filter,
                  PendingHandler<Result<DeadLetterPage>> pending) {
  std::make_shared<ListLetters<Journal>>(std::move(desk), std::move(pending))->begin(filter);
}

// Redriving many, at a limited rate.

template <journal Journal>
struct RedriveAll : std::enable_shared_from_this<RedriveAll<Journal>> {
  RedriveAll(DeskPtr<Journal> where, DeadLetterFilter which, Duration pause, Redriver send,
             PendingHandler<Result<RedriveReport>> pending)
      : desk(std::move(where)),
        filter(std::move(which)),
        interval(pause),
        redriver(std::move(send)),
        answer(std::move(pending)) {}

  void next_page() {
    desk->log.find(
        letters_query(filter),
        boost::asio::bind_executor(desk->executor, [self = this->shared_from_this()](Result<StreamPage> found) {
          if (!found) return self->answer.answer(found.error());
          self->heads = std::move(found->streams);
          self->filter.after = std::move(found->next);
          self->taken = 0;
          self->next();
        }));
  }

  void next() {
    if (taken == heads.size()) return filter.after.empty() ? answer.answer(report) : next_page();
    const bool first = report.redriven + report.failed == 0;
    if (first || interval <= Duration::zero()) return send();
    desk->world.async_wait_for(
        interval, boost::asio::bind_executor(desk->executor, [self = this->shared_from_this()](
                                                                 boost::system::error_code) { self->send(); }));
  }

  void send() {
    redrive_letter(desk, id_of_letter(heads[taken++]), redriver,
                   [self = this->shared_from_this()](Result<void> outcome) {
                     ++(outcome ? self->report.redriven : self->report.failed);
                     self->next();
                   });
  }

  DeskPtr<Journal> desk;
  DeadLetterFilter filter;
  Duration interval;
  Redriver redriver;
  PendingHandler<Result<RedriveReport>> answer;
  std::vector<StreamHead> heads;
  std::size_t taken = 0;
  RedriveReport report;
};

// Purging by age.

template <journal Journal>
struct PurgeLetters : std::enable_shared_from_this<PurgeLetters<Journal>> {
  PurgeLetters(DeskPtr<Journal> where, WallTime before, std::size_t most, std::string why,
               PendingHandler<Result<std::size_t>> pending)
      : desk(std::move(where)), older_than(before), limit(most), reason(std::move(why)), answer(std::move(pending)) {}

  void next_page() {
    desk->log.find(
        letters_query(filter),
        boost::asio::bind_executor(desk->executor, [self = this->shared_from_this()](Result<StreamPage> found) {
          if (!found) return self->answer.answer(found.error());
          self->filter.after = std::move(found->next);
          self->heads = std::move(found->streams);
          std::erase_if(self->heads, [&](const StreamHead& head) { return head.updated >= self->older_than; });
          self->next();
        }));
  }

  void next() {
    if (purged == limit) return answer.answer(purged);
    if (heads.empty()) return filter.after.empty() ? answer.answer(purged) : next_page();
    const StreamHead head = std::move(heads.back());
    heads.pop_back();
    append_note(desk, id_of_letter(head), head.version, {.type = "dead.closed", .payload = "purged: " + reason},
                StreamIndex{.state = "purged", .open = false},
                [self = this->shared_from_this()](Result<void> closed) {
                  if (closed) ++self->purged;
                  self->next();
                });
  }

  DeskPtr<Journal> desk;
  WallTime older_than;
  std::size_t limit;
  std::string reason;
  PendingHandler<Result<std::size_t>> answer;
  DeadLetterFilter filter{};
  std::vector<StreamHead> heads;
  std::size_t purged = 0;
};

}  // namespace detail
}  // namespace aura
