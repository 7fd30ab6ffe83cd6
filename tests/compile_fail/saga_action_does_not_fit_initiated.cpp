// expect: aura: the action of this step cannot be called with
// expect-gcc: action_does_not_fit<aura::fixed_string<7>{"charge"}, aura::Initiation<int
#include <aura/durable/saga.hpp>

namespace {
int act(const int& input) { return input; }
int go_on(const int& input, const int& before) { return input + before; }
void undo(const int&) {}
[[maybe_unused]] const auto charge = [](const std::string&, std::function<void(aura::Result<int>)> done) { done(1); };
}  // namespace

int main() {
  aura::Saga saga{"checkout", aura::version{1},
#ifdef AURA_COMPILE_FAIL_FIXED
             aura::step<"a">(act).pure(),
             aura::step<"charge">(aura::initiates<int>([](const int&, auto done) { done(1); })).pure()
#else
             aura::step<"a">(act).pure(),
             aura::step<"charge">(aura::initiates<int>(charge)).pure()
#endif
  };
  return static_cast<int>(saga.definition()->version) - 1 + act(0) + go_on(0, 0) + (undo(0), 0);
}
