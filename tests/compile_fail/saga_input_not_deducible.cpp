// expect: aura: the saga's input is the first parameter of its first step's action
// expect-gcc: input_not_deducible<aura::fixed_string<7>{"charge"}>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
[[maybe_unused]] const auto generic = [](const auto& input) { return input; };
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"charge">(act).pure()
#else
             aura::step<"charge">(generic).pure()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
