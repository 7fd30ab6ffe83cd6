// expect: AURA: the parts of a pipeline are given outermost first
#include <aura/operational/pipeline.hpp>
#include <aura/sim/runtime.hpp>

int main() {
  aura::sim::Runtime world;
#ifdef AURA_COMPILE_FAIL_FIXED
  aura::Pipeline pipeline(world, aura::Retry(), aura::Timeout());
#else
  aura::Pipeline pipeline(world, aura::Timeout(), aura::Retry());
#endif
  return static_cast<int>(pipeline.in_flight());
}
