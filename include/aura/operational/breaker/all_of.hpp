// Several policies as one.
#pragma once

#include <aura/operational/breaker/policy.hpp>

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

namespace aura {

/// A call passes where all of them let it pass; the breaker opens where one of them says so, for the longest time that
/// any asks. Each counts for itself, so the cost of a call is the sum of theirs. It recovers as the first one does that
/// has a way of its own.
template <breaker_policy... Policies>
  requires(sizeof...(Policies) > 0)
class AllOf {
 public:
  static constexpr bool needs_time = (Policies::needs_time || ...);
  static constexpr bool needs_in_flight = (Policies::needs_in_flight || ...);
  static constexpr bool always_asked = (Policies::always_asked || ...);

  explicit AllOf(Policies... policies) : policies_(std::move(policies)...) {}

  Admission admit(SteadyTime now, std::uint32_t in_flight, detail::SharedRandom& random) {
    return each([&](auto&... policy) {
      Admission answer{.calm = true};
      (ask(policy, answer, now, in_flight, random) && ...);
      return answer;
    });
  }
  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) {
    return each([&](auto&... policy) {
      Verdict verdict;
      (stronger(verdict, policy.record(call, now)), ...);
      return verdict;
    });
  }
  void cancel() {
    each([](auto&... policy) { (policy.cancel(), ...); });
  }
  void reset(SteadyTime now) {
    each([&](auto&... policy) { (policy.reset(now), ...); });
  }
  void absorb(std::uint64_t peer, const BreakerEvidence& said, SteadyTime now)
    requires(hears_peers<Policies> || ...)
  {
    each([&](auto&... policy) { (tell(policy, peer, said, now), ...); });
  }

  /// Of each the largest, but the smallest chance to pass.
  PolicyView view() const {
    return std::apply(
        [](const auto&... policy) {
          PolicyView all;
          (merge(all, policy.view()), ...);
          return all;
        },
        policies_);
  }
  RecoveryOptions recovery() const
    requires(recovers_its_own_way<Policies> || ...)
  {
    return first_recovery<0>();
  }

  template <std::size_t I>
  auto& get() noexcept {
    return std::get<I>(policies_);
  }

 private:
  template <class F>
  decltype(auto) each(F&& f) {
    return std::apply(std::forward<F>(f), policies_);
  }
  template <class P>
  static bool ask(P& policy, Admission& answer, SteadyTime now, std::uint32_t in_flight,
                  detail::SharedRandom& random) {
    const bool calm_so_far = answer.calm;
    answer = policy.admit(now, in_flight, random);
    answer.calm = answer.calm && calm_so_far;
    return answer.passes;
  }
  static void stronger(Verdict& verdict, const Verdict& other) noexcept {
    if (other.kind > verdict.kind || (other.kind == verdict.kind && other.open_for > verdict.open_for))
      verdict = other;
  }
  template <class P>
  static void tell(P& policy, std::uint64_t peer, const BreakerEvidence& said, SteadyTime now) {
    if constexpr (hears_peers<P>) policy.absorb(peer, said, now);
  }
  static void merge(PolicyView& all, const PolicyView& one) noexcept {
    all.calls = std::max(all.calls, one.calls);
    all.failures = std::max(all.failures, one.failures);
    all.slow = std::max(all.slow, one.slow);
    all.pass_probability = std::min(all.pass_probability, one.pass_probability);
    all.limit = std::max(all.limit, one.limit);
    all.evidence = std::max(all.evidence, one.evidence);
    all.healthy_rate = std::max(all.healthy_rate, one.healthy_rate);
  }
  template <std::size_t I>
  RecoveryOptions first_recovery() const {
    const auto& policy = std::get<I>(policies_);
    if constexpr (recovers_its_own_way<std::remove_cvref_t<decltype(policy)>>)
      return policy.recovery();
    else
      return first_recovery<I + 1>();
  }

  std::tuple<Policies...> policies_;
};

}  // namespace aura
