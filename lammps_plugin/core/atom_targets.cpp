#include "atom_targets.h"

#include <algorithm>
#include <cstddef>

namespace fitsnap_nn {

void AtomTargets::declare(PyObject *model) {
  const std::vector<std::string> names = get_strings(model, "target_names");
  const std::vector<int> components = get_integers(model, "target_components");
  targets_.clear();
  for (std::size_t k = 0; k < names.size(); ++k)
    targets_.push_back({names[k], components.at(k), false, false, false, 0, {}, {}});
}

AtomTarget *AtomTargets::find(const std::string &name) {
  const auto found =
      std::find_if(targets_.begin(), targets_.end(), [&](const AtomTarget &target) { return target.name == name; });
  return found == targets_.end() ? nullptr : &*found;
}

AtomTarget *AtomTargets::find_by_trigger(const std::string &name) {
  const std::string suffix = "_flag";
  const std::size_t end = name.size() - std::min(name.size(), suffix.size());
  return name.substr(end) == suffix ? find(name.substr(0, end)) : nullptr;
}

std::string AtomTargets::names() const {
  std::string result;
  for (const AtomTarget &target : targets_)
    result += (result.empty() ? "" : ", ") + target.name;
  return result;
}

void AtomTargets::choose(AtomTarget *target) {
  target->requested = true;
  for (AtomTarget &other : targets_)
    other.chosen = other.requested && (other.name == UNCERTAINTY) == (target->name == UNCERTAINTY);
}

PyRef AtomTargets::chosen() const {
  PyRef names = checked(PyList_New(0));
  for (const AtomTarget &target : targets_)
    if (target.chosen && PyList_Append(names.get(), checked(PyUnicode_FromString(target.name.c_str())).get()) < 0)
      throw PythonError();
  return names;
}

int AtomTargets::width() const {
  int sum = 0;
  for (const AtomTarget &target : targets_)
    sum += target.chosen ? target.components : 0;
  return sum;
}

void AtomTargets::store(const std::vector<int> &atom_of, int local, int atoms) {
  const double *column = output.data();
  const std::ptrdiff_t stride = width();
  for (AtomTarget &target : targets_) {
    if (!target.chosen)
      continue;
    const std::ptrdiff_t count = target.components;
    target.values.assign(std::max(atoms, 1) * count, 0.0);
    target.rows.resize(std::max(atoms, 1));
    for (std::size_t atom = 0; atom < target.rows.size(); ++atom)
      target.rows[atom] = target.values.data() + atom * count;
    for (int row = 0; row < local; ++row)
      std::copy_n(column + row * stride, count, target.rows[atom_of[row]]);
    target.current = true;
    column += count;
  }
}

void AtomTargets::invalidate() {
  for (AtomTarget &target : targets_)
    target.current = false;
}

double AtomTargets::bytes() const {
  double sum = output.bytes();
  for (const AtomTarget &target : targets_)
    sum += sizeof(double) * double(target.values.capacity()) + sizeof(double *) * double(target.rows.capacity());
  return sum;
}

}    // namespace fitsnap_nn
