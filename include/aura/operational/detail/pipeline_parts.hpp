// What may be part of a pipeline, and which place in it each part has.
#pragma once

#include <aura/core/guard.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/bulkhead.hpp>
#include <aura/operational/detail/call_registry.hpp>
#include <aura/operational/fallback.hpp>
#include <aura/operational/fault_injection.hpp>
#include <aura/operational/hedge.hpp>
#include <aura/operational/rate_limiter.hpp>
#include <aura/operational/retry.hpp>
#include <aura/operational/timeout.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// In the order in which they stand, outermost first.
enum class PipelineRole : std::uint8_t { fallback, retry, hedge, limiter, breaker, bulkhead, timeout, faults, none };

template <class P>
inline constexpr bool is_fallback = false;
template <class F>
inline constexpr bool is_fallback<Fallback<F>> = true;

/// A part is held by value, by reference or by shared_ptr.
template <class P>
struct pipeline_part {
  using type = P;
  static P& get(P& held) noexcept { return held; }
};
template <class P>
struct pipeline_part<std::shared_ptr<P>> {
  using type = P;
  static P& get(const std::shared_ptr<P>& held) noexcept { return *held; }
};

template <class Held>
using part_of = pipeline_part<std::remove_cvref_t<Held>>;

template <class Held>
consteval PipelineRole role_of() {
  using P = typename part_of<Held>::type;
  if constexpr (is_fallback<P>)
    return PipelineRole::fallback;
  else if constexpr (std::is_same_v<P, Retry>)
    return PipelineRole::retry;
  else if constexpr (std::is_same_v<P, Hedge>)
    return PipelineRole::hedge;
  else if constexpr (std::is_same_v<P, RateLimiter>)
    return PipelineRole::limiter;
  else if constexpr (std::is_same_v<P, Bulkhead>)
    return PipelineRole::bulkhead;
  else if constexpr (std::is_same_v<P, Timeout>)
    return PipelineRole::timeout;
  else if constexpr (std::is_same_v<P, FaultInjection>)
    return PipelineRole::faults;
  else if constexpr (guard<P>)
    return PipelineRole::breaker;
  else
    return PipelineRole::none;
}

template <class... Held>
consteval bool in_stated_order() {
  const std::array<PipelineRole, sizeof...(Held) + 1> roles{role_of<Held>()..., PipelineRole::none};
  for (std::size_t i = 0; i + 1 < roles.size(); ++i)
    if (roles[i] >= roles[i + 1]) return false;
  return true;
}

template <class... Held>
consteval std::size_t index_of(PipelineRole role) {
  const std::array<PipelineRole, sizeof...(Held) + 1> roles{role_of<Held>()..., role};
  std::size_t index = 0;
  while (roles[index] != role) ++index;
  return index;
}

/// The permit that a guard gives.
template <class G>
using permit_of = std::remove_cvref_t<decltype(*std::declval<G&>().try_acquire(SteadyTime{}))>;

/// What all calls of one pipeline share.
template <class... Held>
struct PipelineState {
  template <PipelineRole Role>
  static constexpr bool has = index_of<Held...>(Role) < sizeof...(Held);

  template <class... Given>
  explicit PipelineState(AnyRuntime host, Given&&... given)
      : world(host), held(std::forward<Given>(given)...), seed(host.random("aura.pipeline")()) {}

  template <PipelineRole Role>
  auto& part() noexcept {
    constexpr std::size_t index = index_of<Held...>(Role);
    return part_of<std::tuple_element_t<index, std::tuple<Held...>>>::get(std::get<index>(held));
  }

  /// A generator of its own for each draw: nothing that threads would share.
  Random dice() noexcept { return Random(mix64(seed ^ mix64(draws.fetch_add(1, std::memory_order_relaxed)))); }

  AnyRuntime world;
  std::tuple<Held...> held;
  std::uint64_t seed;
  std::atomic<std::uint64_t> draws{0};
  std::shared_ptr<CallRegistry> calls = std::make_shared<CallRegistry>();
};

struct nothing_held {};

/// The permit of the part in this role; nothing where there is none.
template <class State, PipelineRole Role>
struct permit_in {
  using type = nothing_held;
};
template <class State, PipelineRole Role>
  requires(State::template has<Role>)
struct permit_in<State, Role> {
  using type =
      std::optional<permit_of<std::remove_reference_t<decltype(std::declval<State&>().template part<Role>())>>>;
};

}  // namespace aura::detail
