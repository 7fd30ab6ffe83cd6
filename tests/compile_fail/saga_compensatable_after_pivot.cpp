// expect: aura: a step with a compensation must come before the pivot: name it, directly or through others, in the pivot's after<>
// expect-gcc: compensatable_after_pivot<aura::fixed_string<8>{"reserve"}>
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
             aura::step<"ship">(go_on).after<"reserve">().pivot()
#else
             aura::step<"reserve">(act).undo(undo),
             aura::step<"ship">(act).pivot()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
