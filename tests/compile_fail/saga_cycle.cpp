// expect: aura: the steps of this saga wait for each other in a cycle
// expect-gcc: waits_for_itself<aura::fixed_string<2>{"a"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"a">(act).undo(undo),
             aura::step<"b">(go_on).undo(undo).after<"a">()
#else
             aura::step<"a">(go_on).undo(undo).after<"b">(),
             aura::step<"b">(go_on).undo(undo).after<"a">()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
