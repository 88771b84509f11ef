#include "tables.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace fitsnap_nn::snap {

namespace {

double factorial(int n) {
  double product = 1.0;
  for (int k = 2; k <= n; ++k)
    product *= k;
  return product;
}

}    // namespace

// Racah's formula; all arguments of factorials are whole numbers although the angular momenta may be half ones.
double clebsch_gordan(int j1, int m1, int j2, int m2, int j) {
  const int aa = 2 * m1 - j1, bb = 2 * m2 - j2, cc = aa + bb;
  if (std::abs(cc) > j)
    return 0.0;
  const int first = std::max({0, (j2 - j - aa) / 2, (j1 - j + bb) / 2});
  const int last = std::min({(j1 + j2 - j) / 2, (j1 - aa) / 2, (j2 + bb) / 2});
  double sum = 0.0;
  for (int z = first; z <= last; ++z) {
    const double denominator = factorial(z) * factorial((j1 + j2 - j) / 2 - z) * factorial((j1 - aa) / 2 - z) *
                               factorial((j2 + bb) / 2 - z) * factorial((j - j2 + aa) / 2 + z) *
                               factorial((j - j1 - bb) / 2 + z);
    sum += (z % 2 ? -1.0 : 1.0) / denominator;
  }
  const double triangle = factorial((j1 + j2 - j) / 2) * factorial((j1 - j2 + j) / 2) * factorial((j2 - j1 + j) / 2) /
                          factorial((j1 + j2 + j) / 2 + 1);
  const double states = factorial((j1 + aa) / 2) * factorial((j1 - aa) / 2) * factorial((j2 + bb) / 2) *
                        factorial((j2 - bb) / 2) * factorial((j + cc) / 2) * factorial((j - cc) / 2) * (j + 1);
  return sum * std::sqrt(triangle * states);
}

Tables::Tables(const Options &options) : options_(options), channels_(options.chemflag ? options.elements() : 1) {
  int half = 0, full = 0;
  for (int j = 0; j <= options.twojmax; ++j) {
    half_offset_.push_back(half);
    full_offset_.push_back(full);
    half += (j / 2 + 1) * (j + 1);
    full += (j + 1) * (j + 1);
    for (int mb = 0; 2 * mb <= j; ++mb)
      for (int ma = 0; ma <= j; ++ma)
        norm_.push_back(std::sqrt(factorial(j - ma) * factorial(ma) / (factorial(j - mb) * factorial(mb))));
  }
  half_offset_.push_back(half);
  full_offset_.push_back(full);
  list_components();
  list_products();
}

TablesView Tables::view() const {
  return {options_.twojmax,
          channels_,
          static_cast<int>(components_.size()),
          half_offset_.back(),
          full_offset_.back(),
          half_offset_.data(),
          full_offset_.data(),
          norm_.data(),
          factors_.data(),
          static_cast<int>(factors_.size()),
          products_.data(),
          static_cast<int>(products_.size()),
          uses_.data(),
          coupling_rows_.data(),
          coefficients_.data()};
}

double Tables::shift(int component, int channel) const {
  const Component &c = components_[component];
  const bool own = c.channel1 == channel && c.channel2 == channel && c.channel3 == channel;
  if (!options_.bzeroflag || !(own || options_.wselfallflag))
    return 0.0;
  return options_.bnormflag ? 1.0 : c.j + 1.0;
}

// In LAMMPS' order: elements run outermost, then j1 >= j2 and j >= j1.
void Tables::list_components() {
  for (int channel1 = 0; channel1 < channels_; ++channel1)
    for (int channel2 = 0; channel2 < channels_; ++channel2)
      for (int channel3 = 0; channel3 < channels_; ++channel3)
        for (int j1 = 0; j1 <= options_.twojmax; ++j1)
          for (int j2 = 0; j2 <= j1; ++j2)
            for (int j = j1 - j2; j <= std::min(options_.twojmax, j1 + j2); j += 2)
              if (j >= j1)
                components_.push_back({channel1, j1, channel2, j2, channel3, j});
}

// The sum behind a component is symmetric in its three densities but for j + 1, so its derivative by each of them is
// the product of the other two.
void Tables::list_products() {
  using Key = std::tuple<int, int, int, int, int>;
  std::map<Key, std::vector<Use>> uses;
  auto add = [&](int j1, int channel1, int j2, int channel2, int j, Use use) {
    if (std::tie(j1, channel1) < std::tie(j2, channel2)) {
      std::swap(j1, j2);
      std::swap(channel1, channel2);
    }
    std::vector<Use> &list = uses[{j1, channel1, j2, channel2, j}];
    for (Use &known : list)
      if (known.component == use.component && known.channel == use.channel) {
        known.slope += use.slope;
        known.value += use.value;
        return;
      }
    list.push_back(use);
  };
  for (int k = 0; k < static_cast<int>(components_.size()); ++k) {
    const Component &c = components_[k];
    const double scale = options_.bnormflag ? 1.0 / (c.j + 1) : 1.0;
    add(c.j1, c.channel1, c.j2, c.channel2, c.j, {k, c.channel3, scale, scale});
    add(c.j, c.channel3, c.j2, c.channel2, c.j1, {k, c.channel1, scale * (c.j + 1) / (c.j1 + 1), 0.0});
    add(c.j, c.channel3, c.j1, c.channel1, c.j2, {k, c.channel2, scale * (c.j + 1) / (c.j2 + 1), 0.0});
  }
  for (auto &[key, list] : uses) {
    const auto &[j1, channel1, j2, channel2, j] = key;
    std::stable_sort(list.begin(), list.end(), [](const Use &a, const Use &b) { return a.channel < b.channel; });
    const int first = static_cast<int>(uses_.size());
    uses_.insert(uses_.end(), list.begin(), list.end());
    const bool defining = std::any_of(list.begin(), list.end(), [](const Use &use) { return use.value != 0.0; });
    const int number = static_cast<int>(products_.size());
    products_.push_back({j, coupling(j1, j2, j), first, static_cast<int>(uses_.size()), defining});
    if (factors_.empty() || std::tie(factors_.back().j1, factors_.back().channel1, factors_.back().j2,
                                     factors_.back().channel2) != std::tie(j1, channel1, j2, channel2))
      factors_.push_back({channel1, j1, channel2, j2, number, number, number});
    factors_.back().last_product = number + 1;
    if (!defining)
      factors_.back().first_defining = number + 1;
  }
}

int Tables::coupling(int j1, int j2, int j) {
  const int size = options_.twojmax + 1;
  coupling_index_.resize(size * size * size, -1);
  int &index = coupling_index_[(j1 * size + j2) * size + j];
  if (index >= 0)
    return index;
  index = static_cast<int>(coupling_rows_.size());
  for (int m = 0; m <= j; ++m) {
    const int sum = m + (j1 + j2 - j) / 2;
    const int first = std::max(0, sum - j2), last = std::min(j1, sum);
    coupling_rows_.push_back({first, last, sum, static_cast<int>(coefficients_.size())});
    for (int m1 = first; m1 <= last; ++m1)
      coefficients_.push_back(clebsch_gordan(j1, m1, j2, sum - m1, j));
  }
  return index;
}

}    // namespace fitsnap_nn::snap
