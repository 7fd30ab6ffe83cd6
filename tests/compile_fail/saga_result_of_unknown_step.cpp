// expect: aura: this saga has no step of that name
#include <aura/durable/saga.hpp>

int main() {
  aura::Saga saga{"checkout", aura::version{1}, aura::step<"charge">([](const int& input) { return input; }).pure()};
#ifdef AURA_COMPILE_FAIL_FIXED
  return saga.result<"charge">(aura::SagaReport{}).has_value() ? 1 : 0;
#else
  return saga.result<"charg">(aura::SagaReport{}).has_value() ? 1 : 0;
#endif
}
