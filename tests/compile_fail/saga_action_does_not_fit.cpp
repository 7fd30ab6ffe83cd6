// expect: aura: the action of this step cannot be called with (the saga's input, the results of the steps it comes after, and perhaps an aura::StepContext&)
// expect-gcc: action_does_not_fit<aura::fixed_string<7>{"charge"}, int (*)(const int&, const 
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
[[maybe_unused]] int charge(const int&, const std::string& reservation) { return static_cast<int>(reservation.size()); }
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"reserve">(act).undo(undo),
             aura::step<"charge">(go_on).undo(undo).after<"reserve">()
#else
             aura::step<"reserve">(act).undo(undo),
             aura::step<"charge">(charge).undo(undo).after<"reserve">()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
