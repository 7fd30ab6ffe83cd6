// Another attempt, by a policy and within a budget that all calls share.
#pragma once

#include <aura/core/retry.hpp>
#include <aura/operational/detail/atomic_budget.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace aura {

/// A part of a `Pipeline`: a failure that the policy finds worth it is tried again, after a wait with full jitter and
/// never before the failure's own `retry_after`. Where the budget is spent the failure stands.
///
/// A retry repeats the action: only for what may be done twice. May be shared between threads; a copy shares the budget.
class Retry {
 public:
  explicit Retry(RetryPolicy policy = {}, RetryBudget::Options budget = {})
      : policy_(policy), shared_(std::make_shared<Shared>(budget)) {}

  /// The wait before the next attempt, or none where there shall be no other; see RetryPolicy::next.
  std::optional<Duration> next(std::uint32_t attempts, const Error& error, Duration elapsed, Random& random) const {
    const auto wait = policy_.next(attempts, error, elapsed, random);
    if (!wait || !shared_->budget.withdraw()) return std::nullopt;
    return wait;
  }
  void succeeded() const noexcept { shared_->budget.deposit(); }

  const RetryPolicy& policy() const noexcept { return policy_; }
  double budget() const noexcept { return shared_->budget.balance(); }

 private:
  struct Shared {
    explicit Shared(RetryBudget::Options options) : budget(options) {}
    detail::AtomicBudget budget;
  };
  RetryPolicy policy_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace aura
