// expect: aura: a step comes after a name that is no step of this saga
// expect-gcc: comes_after_unknown_step<aura::fixed_string<7>{"charge"}, aura::fixed_string<7>{"reserv"}>
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
             aura::step<"charge">(go_on).undo(undo).after<"reserve">()
#else
             aura::step<"reserve">(act).undo(undo),
             aura::step<"charge">(go_on).undo(undo).after<"reserv">()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
