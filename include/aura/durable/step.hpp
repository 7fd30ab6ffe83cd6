// How the author of a saga says what a step is.
#pragma once

#include <aura/core/guard.hpp>
#include <aura/durable/fixed_string.hpp>
#include <aura/durable/saga_definition.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace aura {

namespace detail {

struct no_undo {};

/// What may be tuned without changing what a step is.
struct StepTuning {
  std::optional<RetryPolicy> retry, undo_retry;
  Duration timeout{}, deadline{}, undo_timeout{};
  AnyGuard guard;
  bool blocking = false;
};

}  // namespace detail

/// An action that is started and calls a handler later: `f(input, results…, [context,] handler)`, where the handler
/// takes an `aura::Result<T>` and may be called on any thread, once. Where it is the first step's action, so that the
/// saga's input is read off it, its handler's type must be named: `std::function<void(aura::Result<T>)>`.
template <class T, class F>
struct Initiation {
  using value_type = T;
  F initiate;
};
template <class T, class F>
Initiation<T, std::decay_t<F>> initiates(F&& initiate) {
  return {std::forward<F>(initiate)};
}

/// One step of a saga, as made by `step<"name">(action)`. A value; each word returns a changed copy.
///
/// An action takes the saga's input, the results of the steps named by `after`, in that order and without the void
/// ones, and, if it likes, a `StepContext&`. It returns T, `Result<T>`, void, an `awaitable` of those, or a
/// `WithEffect<T>`; or it is an `Initiation`. A compensation takes the input, then a `std::optional<T>` that is empty
/// where nobody knows whether the action took effect (or leaves it out), and, if it likes, a `StepContext&`.
/// It has to tolerate an action that never happened.
template <fixed_string Name, class Action, class Undo = detail::no_undo, class After = step_names<>,
          int DeclaredKind = -1>
class Step {
 public:
  static constexpr fixed_string name = Name;
  static constexpr bool has_undo = !std::is_same_v<Undo, detail::no_undo>;
  /// -1 where the author has not said and there is no compensation either.
  static constexpr int kind = DeclaredKind >= 0 ? DeclaredKind
                              : has_undo        ? static_cast<int>(StepKind::compensatable)
                                                : -1;
  using action_type = Action;
  using undo_type = Undo;
  using after_type = After;

  explicit Step(Action act) : action_(std::move(act)) {}
  Step(Action act, Undo compensation, detail::StepTuning tuned_as)
      : action_(std::move(act)), undo_(std::move(compensation)), tuning_(std::move(tuned_as)) {}

  /// How to undo it; makes it compensatable.
  template <class F>
  auto undo(F compensation) && {
    return Step<Name, Action, F, After, DeclaredKind>(std::move(action_), std::move(compensation),
                                                      std::move(tuning_));
  }
  /// The steps that must be done before it, whose results it receives.
  template <fixed_string... Names>
  auto after() && {
    return Step<Name, Action, Undo, step_names<Names...>, DeclaredKind>(std::move(action_), std::move(undo_),
                                                                        std::move(tuning_));
  }
  /// The point of no return.
  auto pivot() && { return std::move(*this).template as<StepKind::pivot>(); }
  /// Runs after the pivot and must finish; retried for ever unless `retry` says otherwise.
  auto retriable() && { return std::move(*this).template as<StepKind::retriable>(); }
  /// Without effect: nothing to undo.
  auto pure() && { return std::move(*this).template as<StepKind::pure>(); }

  Step retry(RetryPolicy policy) && {
    return tuned([&](auto& to) { to.retry = policy; });
  }
  /// Of one attempt. At the timeout its cancellation is signalled and the attempt counts as failed, whether or not
  /// it listens; what it then still answers is ignored.
  Step timeout(Duration span) && {
    return tuned([&](auto& to) { to.timeout = span; });
  }
  /// Of all attempts together.
  Step deadline(Duration span) && {
    return tuned([&](auto& to) { to.deadline = span; });
  }
  /// For the compensation. Default: for ever.
  Step undo_retry(RetryPolicy policy) && {
    return tuned([&](auto& to) { to.undo_retry = policy; });
  }
  Step undo_timeout(Duration span) && {
    return tuned([&](auto& to) { to.undo_timeout = span; });
  }
  /// A plain action that blocks: it runs on the runtime's blocking executor.
  Step blocking() && {
    return tuned([](auto& to) { to.blocking = true; });
  }
  /// Passes each attempt of the action through a guard. A rejection is waited for and burns no attempt. The guard
  /// must outlive the saga's runs; or share it.
  template <guard G>
  Step guard_by(G& gate) && {
    return tuned([&](auto& to) { to.guard = AnyGuard(gate); });
  }
  template <guard G>
  Step guard_by(std::shared_ptr<G> gate) && {
    return tuned([&](auto& to) { to.guard = AnyGuard(std::move(gate)); });
  }

  Action& action_ref() noexcept { return action_; }
  Undo& undo_ref() noexcept { return undo_; }
  const detail::StepTuning& tuning() const noexcept { return tuning_; }

 private:
  template <StepKind Kind>
  auto as() && {
    return Step<Name, Action, Undo, After, static_cast<int>(Kind)>(std::move(action_), std::move(undo_),
                                                                   std::move(tuning_));
  }
  template <class F>
  Step tuned(F change) {
    change(tuning_);
    return std::move(*this);
  }

  Action action_;
  [[no_unique_address]] Undo undo_{};
  detail::StepTuning tuning_{};
};

/// Begins a step: `step<"charge">(charge).undo(refund).after<"reserve">().timeout(2s)`.
template <fixed_string Name, class F>
auto step(F&& action) {
  return Step<Name, std::decay_t<F>>(std::forward<F>(action));
}

}  // namespace aura
