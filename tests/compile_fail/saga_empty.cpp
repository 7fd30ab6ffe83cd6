// expect: aura: a saga has at least one step
#include <aura/durable/saga.hpp>

int main() {
#ifdef AURA_COMPILE_FAIL_FIXED
  aura::Saga saga{"checkout", aura::version{1}, aura::step<"charge">([](const int& input) { return input; }).pure()};
#else
  aura::Saga saga{"checkout", aura::version{1}};
#endif
  return saga.definition() ? 0 : 1;
}
