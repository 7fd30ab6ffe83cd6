// expect: AURA: a part of this pipeline is no Fallback, Retry, Hedge, RateLimiter, Bulkhead, Timeout or
#include <aura/operational/pipeline.hpp>
#include <aura/sim/runtime.hpp>

struct Nothing {};

int main() {
  aura::sim::Runtime world;
#ifdef AURA_COMPILE_FAIL_FIXED
  aura::Pipeline pipeline(world, aura::Timeout());
#else
  aura::Pipeline pipeline(world, Nothing());
#endif
  return static_cast<int>(pipeline.in_flight());
}
