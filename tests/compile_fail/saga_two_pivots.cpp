// expect: aura: a saga has at most one pivot
// expect-gcc: second_pivot<aura::fixed_string<5>{"bill"}, aura::fixed_string<5>{"ship"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"ship">(act).pivot(),
             aura::step<"bill">(act).retriable()
#else
             aura::step<"ship">(act).pivot(),
             aura::step<"bill">(act).pivot()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
