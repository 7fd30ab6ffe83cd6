// expect: aura: two steps of this saga have the same name
// expect-gcc: name_taken_twice<aura::fixed_string<7>{"charge"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"charge">(act).undo(undo),
             aura::step<"refund">(act).undo(undo)
#else
             aura::step<"charge">(act).undo(undo),
             aura::step<"charge">(act).undo(undo)
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
