// A journal that forgets: for tests, for benchmarks, and for work that need not survive the process.
#pragma once

#include <aura/core/runtime.hpp>
#include <aura/durable/detail/completion.hpp>
#include <aura/durable/detail/memory_streams.hpp>

#include <boost/asio/async_result.hpp>

#include <mutex>
#include <utility>

namespace aura {

struct MemoryJournalOptions {
  std::size_t streams_max = 10'000'000;   ///< open and closed together; at most 2^32 - 2
  std::size_t records_max = 100'000'000;  ///< of all streams together
};

/// Models `journal`. At a limit a batch is refused with `full` until closed streams are pruned. A batch with an effect
/// is refused with `effect_unsupported`: there is no transaction that it could join.
///
/// May be shared between threads; one mutex protects it. An operation takes effect in its initiation and completes by a
/// post to the handler's associated executor (by default the runtime's), so it cannot be cancelled any more. It must
/// outlive the initiations of its operations, not their completions.
///
/// Costs, besides the post: a commit of one record one hash lookup (about 0.1 µs); an index change some pushes and
/// pops; `find` and `prune` sort what was added since the last one; `find` by state or attribute looks at every stream
/// of the kind that is open (or closed, or due), under the lock.
class MemoryJournal {
 public:
  using Options = MemoryJournalOptions;

  /// The executor's context must outlive the journal.
  explicit MemoryJournal(boost::asio::any_io_executor executor, Options options = {})
      : executor_(std::move(executor)), streams_(options.streams_max, options.records_max) {}

  explicit MemoryJournal(AnyRuntime world, Options options = {}) : MemoryJournal(world.executor(), options) {}

  MemoryJournal(const MemoryJournal&) = delete;
  MemoryJournal& operator=(const MemoryJournal&) = delete;

  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto commit(Batch batch, Token&& token) {
    return initiate<Result<void>>(
        token, [this](Batch& taken) { return streams_.commit(taken); }, std::move(batch));
  }

  template <boost::asio::completion_token_for<void(Result<std::vector<Record>>)> Token>
  auto read(std::string stream, std::uint64_t from_version, std::size_t max, Token&& token) {
    return initiate<Result<std::vector<Record>>>(
        token, [this, from_version, max](const std::string& name) { return streams_.read(name, from_version, max); },
        std::move(stream));
  }

  template <boost::asio::completion_token_for<void(Result<std::optional<StreamHead>>)> Token>
  auto head(std::string stream, Token&& token) {
    return initiate<Result<std::optional<StreamHead>>>(
        token, [this](const std::string& name) { return streams_.head(name); }, std::move(stream));
  }

  template <boost::asio::completion_token_for<void(Result<StreamPage>)> Token>
  auto find(StreamQuery query, Token&& token) {
    return initiate<Result<StreamPage>>(
        token, [this](const StreamQuery& wanted) { return streams_.find(wanted); }, std::move(query));
  }

  template <boost::asio::completion_token_for<void(Result<Lease>)> Token>
  auto acquire_lease(HolderId holder, Duration ttl, WallTime now, Token&& token) {
    return initiate<Result<Lease>>(
        token, [this, ttl, now](const HolderId& name) { return streams_.acquire(name, ttl, now); },
        std::move(holder));
  }

  template <boost::asio::completion_token_for<void(Result<Lease>)> Token>
  auto renew_lease(Lease lease, Duration ttl, WallTime now, Token&& token) {
    return initiate<Result<Lease>>(
        token, [this, ttl, now](const Lease& held) { return streams_.renew(held, ttl, now); }, std::move(lease));
  }

  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto release_lease(Lease lease, Token&& token) {
    return initiate<Result<void>>(
        token, [this](const Lease& held) { return streams_.release(held); }, std::move(lease));
  }

  template <boost::asio::completion_token_for<void(Result<std::vector<ClaimedStream>>)> Token>
  auto claim(Lease lease, std::vector<std::string> streams, WallTime now, Token&& token) {
    return initiate<Result<std::vector<ClaimedStream>>>(
        token,
        [this, now, held = std::move(lease)](std::vector<std::string>& names) {
          return streams_.claim(held, names, now);
        },
        std::move(streams));
  }

  template <boost::asio::completion_token_for<void(Result<std::size_t>)> Token>
  auto prune(Retention retention, Token&& token) {
    return initiate<Result<std::size_t>>(
        token, [this](const Retention& rule) { return streams_.prune(rule); }, std::move(retention));
  }

 private:
  /// Runs `work(argument)` under the lock, then posts the completion.
  template <class T, class Token, class Work, class Argument>
  auto initiate(Token& token, Work work, Argument argument) {
    return boost::asio::async_initiate<Token, void(T)>(
        [this](auto handler, auto todo, Argument taken) {
          T result = locked<T>(todo, taken);
          detail::post_completion(executor_, std::move(handler), std::move(result));
        },
        token, std::move(work), std::move(argument));
  }

  template <class T, class Work, class Argument>
  T locked(Work& work, Argument& argument) {
    const std::lock_guard lock(mutex_);
    return work(argument);
  }

  boost::asio::any_io_executor executor_;
  std::mutex mutex_;
  detail::MemoryStreams streams_;
};

}  // namespace aura
