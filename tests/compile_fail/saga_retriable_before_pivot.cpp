// expect: aura: a retriable step cannot come before the pivot: it could not be undone
// expect-gcc: retriable_before_pivot<aura::fixed_string<7>{"notify"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"notify">(act).pure(),
             aura::step<"ship">(go_on).after<"notify">().pivot()
#else
             aura::step<"notify">(act).retriable(),
             aura::step<"ship">(go_on).after<"notify">().pivot()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
