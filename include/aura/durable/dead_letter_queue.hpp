// DeadLetterQueue: looking at what failed for good, and sending it again.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/runtime.hpp>
#include <aura/durable/dead_letter.hpp>
#include <aura/durable/detail/dead_letter_tasks.hpp>

#include <boost/asio/async_result.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Dead letters over a journal. Letters are written by those whose work failed, in the same commit as the failure
/// (`write_dead_letter`); the runner of sagas does so by itself. `offer` serves those without a commit of their own.
///
/// Stateless but for what it refers to: may be shared between threads, and several may look at one journal. The runtime
/// and the journal must outlive the last handler. Every function completes by a post and cannot be cancelled.
template <journal Journal>
class DeadLetterQueue {
 public:
  DeadLetterQueue(AnyRuntime runtime, Journal& storage, DeadLetterLimits limits = {})
      : shared_(std::make_shared<detail::DeadLetterDesk<Journal>>(runtime, storage, std::move(limits))) {}

  /// Writes a letter. `kind_full` at the limit: the newest is refused and nothing is evicted. A second letter of the
  /// same id is a `version_conflict`. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto offer(DeadLetter letter, Token&& token) {
    if (letter.queue.empty()) letter.queue = shared_->limits.queue;
    Batch batch;
    batch.appends.push_back(write_dead_letter(letter, shared_->limits));
    return shared_->log.commit(std::move(batch), std::forward<Token>(token));
  }

  /// Letters that match, a page at a time, without consuming any. `void(Result<DeadLetterPage>)`.
  template <boost::asio::completion_token_for<void(Result<DeadLetterPage>)> Token>
  auto list(DeadLetterFilter filter, Token&& token) {
    return initiate<DeadLetterPage>(token, [filter = std::move(filter)](auto desk, auto pending) {
      detail::list_letters(std::move(desk), filter, std::move(pending));
    });
  }

  /// Sends one letter again, whatever its state: `redriver(letter, done)`. Success closes it as "redriven"; a failure is
  /// counted, and the letter quarantined once it failed `redrives_max` times. `void(Result<void>)` with the redriver's
  /// error. The redriver must keep the letter's idempotency key: a crash in between sends the letter a second time.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto redrive(std::string id, Redriver redriver, Token&& token) {
    return initiate<void>(token, [id = std::move(id), send = std::move(redriver)](auto desk, auto pending) {
      detail::redrive_letter(std::move(desk), id, send, [answer = share(std::move(pending))](Result<void> outcome) {
        answer->answer(std::move(outcome));
      });
    });
  }

  /// Redrives every pending letter that matches, one every `interval`, and says how many went and failed.
  /// Quarantined letters are left alone. `void(Result<RedriveReport>)`.
  template <boost::asio::completion_token_for<void(Result<RedriveReport>)> Token>
  auto redrive_all(DeadLetterFilter filter, Duration interval, Redriver redriver, Token&& token) {
    filter.state = "pending";
    return initiate<RedriveReport>(
        token, [filter = std::move(filter), interval, send = std::move(redriver)](auto desk, auto pending) {
          using Task = detail::RedriveAll<Journal>;
          std::make_shared<Task>(std::move(desk), filter, interval, send, std::move(pending))->next_page();
        });
  }

  /// Sets one aside: no `redrive_all` touches it. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto quarantine(std::string id, std::string reason, Token&& token) {
    return initiate<void>(token, [id = std::move(id), reason = std::move(reason)](auto desk, auto pending) {
      detail::note_letter(std::move(desk), id, {.type = "dead.quarantined", .payload = reason},
                          StreamIndex{.state = "quarantined"}, std::move(pending));
    });
  }

  /// Closes letters whose last change is older than a time, at most `limit`, each with an audit record of why.
  /// `void(Result<std::size_t>)`: how many.
  template <boost::asio::completion_token_for<void(Result<std::size_t>)> Token>
  auto purge(WallTime older_than, std::size_t limit, std::string reason, Token&& token) {
    return initiate<std::size_t>(token, [older_than, limit, reason = std::move(reason)](auto desk, auto pending) {
      using Task = detail::PurgeLetters<Journal>;
      std::make_shared<Task>(std::move(desk), older_than, limit, reason, std::move(pending))->next_page();
    });
  }

 private:
  template <class P>
  static std::shared_ptr<P> share(P pending) {
    return std::make_shared<P>(std::move(pending));
  }

  template <class T, class Token, class Start>
  auto initiate(Token& token, Start start) {
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [desk = shared_](auto handler, auto begin) {
          begin(desk, detail::PendingHandler<Result<T>>(std::move(handler), desk->executor));
        },
        token, std::move(start));
  }

  std::shared_ptr<detail::DeadLetterDesk<Journal>> shared_;
};

}  // namespace aura
