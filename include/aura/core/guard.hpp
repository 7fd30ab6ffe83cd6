// What one layer may put before an attempt: a breaker, a bulkhead, a limiter.
#pragma once

#include <aura/core/outcome.hpp>
#include <aura/core/result.hpp>

#include <concepts>
#include <memory>
#include <utility>

namespace aura {

/// The right to make one attempt. Dropped without a record it counts as cancelled and gives back what it held.
template <class P>
concept permit = std::movable<P> && requires(P& held, const AttemptOutcome& outcome) { held.record(outcome); };

/// Lets an attempt pass or rejects it with an error that says when to try again (`retry_after`).
/// Called from many threads at once.
template <class G>
concept guard = requires(G& gate, SteadyTime now) {
  { *gate.try_acquire(now) } -> permit;
  { gate.try_acquire(now).error() } -> std::convertible_to<Error>;
};

/// Any permit. One allocation.
class AnyPermit {
 public:
  AnyPermit() = default;
  template <class P>
    requires(!std::same_as<P, AnyPermit>) && permit<P>
  explicit AnyPermit(P held) : held_(std::make_unique<Model<P>>(std::move(held))) {}

  void record(const AttemptOutcome& outcome) {
    if (held_) held_->record(outcome);
    held_.reset();
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void record(const AttemptOutcome& outcome) = 0;
  };
  template <class P>
  struct Model final : Base {
    explicit Model(P held) : permit(std::move(held)) {}
    void record(const AttemptOutcome& outcome) override { permit.record(outcome); }
    P permit;
  };
  std::unique_ptr<Base> held_;
};

/// Any guard, by reference or shared. Empty: everything passes. Cheap to copy.
class AnyGuard {
 public:
  AnyGuard() = default;
  /// The guard must outlive every copy of this.
  template <class G>
    requires(!std::same_as<std::remove_const_t<G>, AnyGuard>) && guard<G>
  explicit AnyGuard(G& gate) : AnyGuard(std::shared_ptr<G>(std::shared_ptr<void>(), &gate)) {}

  template <guard G>
  explicit AnyGuard(std::shared_ptr<G> gate)
      : gate_(std::move(gate)), try_acquire_([](void* self, SteadyTime now) -> Result<AnyPermit> {
          auto passed = static_cast<G*>(self)->try_acquire(now);
          if (!passed) return Error(passed.error());
          return AnyPermit(std::move(*passed));
        }) {}

  explicit operator bool() const noexcept { return gate_ != nullptr; }

  Result<AnyPermit> try_acquire(SteadyTime now) const {
    if (!gate_) return AnyPermit();
    return try_acquire_(gate_.get(), now);
  }

 private:
  std::shared_ptr<void> gate_;
  Result<AnyPermit> (*try_acquire_)(void*, SteadyTime) = nullptr;
};

}  // namespace aura
