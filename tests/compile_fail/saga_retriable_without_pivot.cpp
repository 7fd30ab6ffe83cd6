// expect: aura: a saga without a pivot has either only steps with a compensation or only retriable ones, besides pure steps
// expect-gcc: retriable_without_pivot<aura::fixed_string<7>{"notify"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"reserve">(act).undo(undo),
             aura::step<"notify">(act).pure()
#else
             aura::step<"reserve">(act).undo(undo),
             aura::step<"notify">(act).retriable()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
