// expect: aura: the input of this saga has no codec
// expect-gcc: input_without_codec<aura::fixed_string<7>{"charge"}, {anonymous}::Order>
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
struct Order {
  int item = 0;
};
[[maybe_unused]] void charge(const Order&) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"charge">(act).pure()
#else
             aura::step<"charge">(charge).pure()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
