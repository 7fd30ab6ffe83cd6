// expect: aura: the compensation of this step does not fit its action
// expect-gcc: compensation_does_not_fit<aura::fixed_string<8>{"reserve"}, void (*)(const int&, std::optional<std::
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
[[maybe_unused]] void release(const int&, std::optional<std::string>) {}
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"reserve">(act).undo(undo)
#else
             aura::step<"reserve">(act).undo(release)
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
