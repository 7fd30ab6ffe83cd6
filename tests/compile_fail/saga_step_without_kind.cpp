// expect: aura: this step has no kind: give it .undo(compensation), .pivot(), .retriable() or .pure()
// expect-gcc: step_without_kind<aura::fixed_string<6>{"quote"}>
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
             aura::step<"quote">(act).pure()
#else
             aura::step<"reserve">(act).undo(undo),
             aura::step<"quote">(act)
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
