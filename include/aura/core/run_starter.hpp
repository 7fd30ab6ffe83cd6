// How one layer begins a durable run without knowing who runs it.
#pragma once

#include <aura/core/ids.hpp>
#include <aura/core/result.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/async_result.hpp>

#include <concepts>
#include <memory>
#include <string>
#include <utility>

namespace aura {

using RunStartedHandler = boost::asio::any_completion_handler<void(Result<void>)>;

/// Begins a durable run: `start(id, payload, token)`, `void(Result<void>)`. Completes once the journal has it, never
/// inside its own initiation. Beginning the same run again with the same payload succeeds without effect, so that
/// whoever got no answer may ask again. Called from many threads at once.
///
/// A `SagaRunner` becomes one by naming the saga:
///
///     struct Checkouts {
///       void start(aura::RunId id, std::string order, aura::RunStartedHandler done) {
///         runner.start(checkout.definition(), std::move(id), aura::Result<std::string>(std::move(order)), std::move(done));
///       }
///       Runner& runner;
///       Checkout& checkout;
///     };
template <class S>
concept run_starter = requires(S& starter, RunId id, std::string payload, RunStartedHandler on_done) {
  starter.start(std::move(id), std::move(payload), std::move(on_done));
};

/// Any run_starter, by reference or shared. Cheap to copy. Empty: `start` must not be called.
class AnyRunStarter {
 public:
  AnyRunStarter() = default;
  /// The starter must outlive every copy of this.
  template <class S>
    requires(!std::same_as<std::remove_const_t<S>, AnyRunStarter>) && run_starter<S>
  explicit AnyRunStarter(S& starter) : AnyRunStarter(std::shared_ptr<S>(std::shared_ptr<void>(), &starter)) {}

  template <run_starter S>
  explicit AnyRunStarter(std::shared_ptr<S> starter)
      : starter_(std::move(starter)),
        start_([](void* self, RunId id, std::string payload, RunStartedHandler on_done) {
          static_cast<S*>(self)->start(std::move(id), std::move(payload), std::move(on_done));
        }) {}

  explicit operator bool() const noexcept { return starter_ != nullptr; }

  /// As the concept says. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto start(RunId id, std::string payload, Token&& token) const {
    return boost::asio::async_initiate<Token, void(Result<void>)>(
        [self = *this](auto handler, RunId of, std::string bytes) {
          self.start_(self.starter_.get(), std::move(of), std::move(bytes), RunStartedHandler(std::move(handler)));
        },
        token, std::move(id), std::move(payload));
  }

 private:
  std::shared_ptr<void> starter_;
  void (*start_)(void*, RunId, std::string, RunStartedHandler) = nullptr;
};

}  // namespace aura
