// expect: AURA: a judge takes the action's Result<T> and gives the std::optional<ErrorClass> of a failure
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/circuit_breaker.hpp>
#include <aura/sim/runtime.hpp>

int main() {
  aura::sim::Runtime world;
  aura::CircuitBreaker<aura::ConsecutiveFailures> breaker(world);
#ifdef AURA_COMPILE_FAIL_FIXED
  const auto judge = [](const aura::Result<int>&) -> std::optional<aura::ErrorClass> { return std::nullopt; };
#else
  const auto judge = [](const aura::Result<int>&) { return "fine"; };
#endif
  breaker.call([] { return 1; }, judge, [](aura::Result<int>) {});
}
