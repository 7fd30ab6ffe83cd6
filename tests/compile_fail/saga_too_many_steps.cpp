// expect: aura: a saga has at most 64 steps
#include <aura/durable/saga.hpp>

#include <utility>

namespace {

consteval auto name_of(std::size_t i) {
  const char name[] = {'s', static_cast<char>('0' + i / 10), static_cast<char>('0' + i % 10), '\0'};
  return aura::fixed_string<4>(name);
}

int act(const int& input) { return input; }

template <std::size_t... I>
auto saga_of(std::index_sequence<I...>) {
  return aura::Saga{"long", aura::version{1}, aura::step<name_of(I)>(act).pure()...};
}

}  // namespace

int main() {
#ifdef AURA_COMPILE_FAIL_FIXED
  const auto saga = saga_of(std::make_index_sequence<64>());
#else
  const auto saga = saga_of(std::make_index_sequence<65>());
#endif
  return saga.definition() ? 0 : 1;
}
