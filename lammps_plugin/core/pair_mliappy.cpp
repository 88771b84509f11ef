#include "pair_mliappy.h"

#include "collective.h"
#include "descriptor_file.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "neighbor.h"
#include "universe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <numeric>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

// Environment variable that names the kernel, to compare them; the best for this processor if it is empty or not set.
constexpr const char *INSTRUCTION_SET = "FITSNAP_NN_SNAP_ISA";

constexpr const char *LATER = "LATER";    // in place of a file: a script hands the model over before the run

std::string wanted_instruction_set() {
  const char *name = std::getenv(INSTRUCTION_SET);
  return name ? name : "";
}

}    // namespace

void PairMliappy::settings(int count, char **words) {
  std::string descriptor_file;
  for (int i = 0; i < count; i += 3) {
    const std::string keyword = words[i];
    std::string *file = keyword == "model" ? &file_ : keyword == "descriptor" ? &descriptor_file : nullptr;
    if (i + 3 > count || !file || !file->empty())
      error->all(FLERR, "pair_style mliap takes model mliappy FILE and descriptor sna FILE");
    if (keyword == "descriptor" && std::string(words[i + 1]) != "sna")
      error->all(FLERR, std::string("A model in Python goes with descriptor sna here, not with ") + words[i + 1]);
    *file = words[i + 2];
  }
  if (descriptor_file.empty())
    error->all(FLERR, "pair_style mliap model mliappy " + file_ + " needs descriptor sna FILE");
  load(descriptor_file);
}

void PairMliappy::load(const std::string &descriptor_file) {
  const DescriptorFile descriptor = read_descriptor_file(lmp, descriptor_file);
  elements_ = descriptor.elements;
  try {
    descriptor_ = std::make_unique<snap::Descriptor>(descriptor.options, wanted_instruction_set());
  } catch (const std::invalid_argument &problem) {
    error->all(FLERR, "descriptor sna " + descriptor_file + ": " + problem.what());
  }
  reach_ = {0.0, false, 0};
  for (int element = 0; element < static_cast<int>(elements_.size()); ++element)
    reach_.cutoff = std::max(reach_.cutoff, descriptor_->cutoff(element, element));
  std::string units;
  call_on_all_ranks(lmp, [&] {
    const PyRef module = checked(PyImport_ImportModule("fitsnap_nn.plugin.descriptor_model"));
    model_ = checked(PyObject_CallMethod(module.get(), "load", "siii", file_.c_str(), universe->nprocs,
                                         descriptor_->size(), static_cast<int>(elements_.size())));
    units = text(model_.get(), "units");
  });
  if (file_ != LATER)
    check_units(units);
}

void PairMliappy::connect() {
  std::string units;
  call_on_all_ranks(lmp, [&] {
    checked(PyObject_CallMethod(model_.get(), "connect", nullptr));
    units = text(model_.get(), "units");
  });
  check_units(units);
}

void PairMliappy::init_style_for(Pair *owner) {
  if (!force->newton_pair)
    error->all(FLERR, "pair_style mliap model mliappy needs newton on: it puts forces on atoms of other ranks");
  neighbor->add_request(owner, NeighConst::REQ_FULL);
  if (file_ == LATER)
    connect();
}

double PairMliappy::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  return descriptor_->cutoff(element_of_[i], element_of_[j]);
}

void PairMliappy::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  const int absent = absent_atoms(false);
  call_on_all_ranks(lmp, [this, absent] {
    find_neighbors(absent);
    call_model();
    check_results();
  });
  descriptor_->forces(slopes_.data(), forces_.data());
  add_results();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

void PairMliappy::find_neighbors(int absent) {
  neighbors_.build(*list, element_of_, absent, reach_);
  const int centres = neighbors_.centres();
  const int *counts = neighbors_.centre_pairs.data();
  first_.assign(1 + centres, 0);
  std::partial_sum(counts, counts + centres, first_.begin() + 1);
  forces_.resize(3 * std::size_t(neighbors_.pairs()));
}

// Nothing is asked of the model where there are no atoms.
void PairMliappy::call_model() {
  const int count = neighbors_.centres();
  const Py_ssize_t values = Py_ssize_t(count) * descriptor_->size();
  energies_.reserve(count);
  components_.reserve(values);
  slopes_.reserve(values);
  descriptor_->load({count, neighbors_.centre_elements.data(), first_.data(), neighbors_.pair_elements.data(),
                     neighbors_.vectors.data()});
  if (count == 0)
    return;
  descriptor_->components(components_.data());
  const PyRef elements = neighbors_.centre_elements.rows(count), components = components_.rows(values);
  const PyRef slopes = slopes_.rows(values), energies = energies_.rows(count);
  checked(PyObject_CallMethod(model_.get(), "compute", "OOOO", elements.get(), components.get(), slopes.get(),
                              energies.get()));
}

void PairMliappy::check_results() const {
  for (int n = 0; n < neighbors_.centres(); ++n) {
    const double *slopes = slopes_.data() + std::ptrdiff_t(n) * descriptor_->size();
    double sum = energies_.data()[n];
    for (int k = 0; k < descriptor_->size(); ++k)
      sum += slopes[k];
    if (!std::isfinite(sum))
      throw std::runtime_error(not_finite("the energy", neighbors_.tags.data()[neighbors_.centre_atoms.data()[n]],
                                          neighbors_.centre_elements.data()[n]));
  }
}

void PairMliappy::add_results() {
  double **f = atom->f;
  const std::vector<int> &atom_of = neighbors_.atom_of();
  for (int n = 0; n < neighbors_.centres(); ++n) {
    const int i = atom_of[neighbors_.centre_atoms.data()[n]];
    for (int k = first_[n]; k < first_[n + 1]; ++k) {
      const int j = atom_of[neighbors_.pair_j.data()[k]];
      const double *pull = &forces_[3 * std::size_t(k)], *d = neighbors_.vectors.data() + 3 * std::ptrdiff_t(k);
      for (int axis = 0; axis < 3; ++axis) {
        f[i][axis] += pull[axis];
        f[j][axis] -= pull[axis];
      }
      if (vflag_either)
        ev_tally_xyz(i, j, atom->nlocal, force->newton_pair, 0.0, 0.0, pull[0], pull[1], pull[2], -d[0], -d[1], -d[2]);
    }
    if (eflag_global)
      eng_vdwl += energies_.data()[n];
    if (eflag_atom)
      eatom[i] += energies_.data()[n];
  }
}

double PairMliappy::memory_usage() {
  const double own = static_cast<double>(first_.capacity() * sizeof(int) + forces_.capacity() * sizeof(double));
  return Pair::memory_usage() + own + neighbors_.bytes() + components_.bytes() + slopes_.bytes() + energies_.bytes() +
         descriptor_->memory_usage();
}

}    // namespace fitsnap_nn
