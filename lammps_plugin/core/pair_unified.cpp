#include "pair_unified.h"

#include "collective.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "neighbor.h"
#include "universe.h"
#include "utils.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>

using namespace LAMMPS_NS;

namespace fitsnap_nn {
namespace {

double to_double(const PyRef &number) {
  const double value = PyFloat_AsDouble(number.get());
  if (value == -1.0 && PyErr_Occurred())
    throw PythonError();
  return value;
}

}    // namespace

PairUnified::PairUnified(LAMMPS *lmp) : PairModel(lmp), neighbors_(lmp), exchange_(lmp, this) {
  comm_forward = comm_reverse = comm_reverse_off = Exchange::chunk;
}

PairUnified::~PairUnified() {
  // Restore the user's communication cutoff, unless a comm_modify command has changed it since.
  if (model_cutghost_ > 0.0 && comm->cutghostuser == model_cutghost_)
    comm->cutghostuser = user_cutghost_;
}

void PairUnified::settings(int narg, char **arg) {
  if (narg < 2 || narg > 3)
    error->all(FLERR, "Usage: pair_style mliap unified FILE [0|1], where 1 adds the neighbors of ghost atoms");
  file_ = arg[1];
  neighbor_options_.ghosts = narg == 3 && utils::logical(FLERR, arg[2], false, lmp);
  load();
  ghostneigh = neighbor_options_.ghosts;
}

void PairUnified::load() {
  std::string units;
  call_on_all_ranks(lmp, [&] {
    const PyRef runtime = checked(PyImport_ImportModule("fitsnap_nn.plugin.runtime"));
    model_ = checked(PyObject_CallMethod(runtime.get(), "load_unified", "si", file_.c_str(), universe->nprocs));
    elements_ = get_strings(model_.get(), "elements");
    units = get_string(model_.get(), "units");
    reference_ = get_string(model_.get(), "reference");
    neighbor_options_.cutoff = get_double(model_.get(), "cutoff");
    neighbor_options_.layers = static_cast<int>(get_double(model_.get(), "ghost_layers"));
    pairwise_ = get_double(model_.get(), "pairwise") != 0.0;
    follows_lists_ = get_double(model_.get(), "follows_lists") != 0.0;
    note_ = get_string(model_.get(), "note");
    targets_.declare(model_.get());
  });
  check_units(units);
  if (neighbor_options_.layers > 1)
    neighbor_options_.ghosts = true;
  // On a single rank only is the owner of each ghost a row of this rank.
  follows_lists_ = follows_lists_ && comm->nprocs == 1 && !neighbor_options_.ghosts;
  // Such a model returns the virial, and no forces on ghosts.
  no_virial_fdotr_compute = follows_lists_;
}

void PairUnified::init_style_for(Pair *owner) {
  neighbor->add_request(owner, NeighConst::REQ_FULL | (neighbor_options_.ghosts ? NeighConst::REQ_GHOST : 0));
  if (neighbor_options_.ghosts)
    set_communication_cutoff();
  check_reference();
  if (!note_.empty() && comm->me == 0)
    utils::logmesg(lmp, note_ + "\n");
  note_.clear();
}

double PairUnified::init_one(int i, int j) {
  if (setflag[i][j] == 0)
    error->all(FLERR, "All pair coeffs are not set");
  cutghost[i][j] = cutghost[j][i] = neighbor_options_.cutoff;
  return neighbor_options_.cutoff;
}

// Extends the communication cutoff to the receptive field of the model plus the skin: ghosts are selected when
// neighbour lists are built, and until the next build two atoms approach each other by at most the skin.
void PairUnified::set_communication_cutoff() {
  if (neighbor_options_.layers == 0) {
    if (comm->me == 0 && comm->cutghostuser < 2.0 * neighbor_options_.cutoff)
      error->warning(FLERR, "The model in " + file_ +
                                " does not declare its receptive field (attribute `ghost_layers`, in " +
                                "cutoffs). Set comm_modify cutoff to at least its receptive field plus the skin");
    return;
  }
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "The model in " + file_ + " requires comm_modify mode single");
  if (comm->cutghostuser != model_cutghost_)
    user_cutghost_ = comm->cutghostuser;
  model_cutghost_ = comm->cutghostuser =
      std::max(user_cutghost_, neighbor_options_.layers * neighbor_options_.cutoff + neighbor->skin);
}

void PairUnified::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  targets_.invalidate();
  run_step([&] {
    zero_results();
    if (follows_lists_)
      call_model_on_lists(vflag);
    else
      call_model(eflag, vflag);
    check_results();
  });
  add_results();
  if (vflag_fdotr)
    virial_fdotr_compute();
}

// Reads the neighbour lists of this step, then runs `work`, in which the model may exchange features. Collective.
void PairUnified::run_step(const std::function<void()> &work) {
  const int excluded = excluded_atoms(pairwise_);
  exchange_.begin_step(neighbors_, neighbor_options_.cutoff);
  const std::string failure = error_of([&] {
    if (follows_lists_) {
      if (neighbors_.follow(*list, element_of_, excluded)) {
        lists_changed_ = true;
        find_owners();
      }
    } else {
      neighbors_.build(*list, element_of_, excluded, neighbor_options_);
    }
    work();
  });
  exchange_.finish_step(failure);
}

void PairUnified::zero_results() {
  atom_energies_.reserve(neighbors_.local());
  forces_.reserve(neighbors_.atoms());
  std::fill_n(atom_energies_.data(), neighbors_.local(), 0.0);
  std::fill_n(forces_.data(), 3 * std::ptrdiff_t(neighbors_.atoms()), 0.0);
  // With newton off, Pair::ev_setup zeroes the per-atom virials of local atoms only; reverse communication below also
  // needs those of ghosts.
  if (vflag_atom && !force->newton_pair && atom->nghost)
    std::fill_n(vatom[atom->nlocal], 6 * std::ptrdiff_t(atom->nghost), 0.0);
}

void PairUnified::call_model(int eflag, int vflag) {
  static PyObject *method = checked(PyUnicode_InternFromString("compute")).release();
  const std::array<PyRef, 2> flags = {checked(PyLong_FromLong(eflag)), checked(PyLong_FromLong(vflag))};
  const std::array<PyRef, 2> results = {atom_energies_.rows(neighbors_.local()), forces_.rows(neighbors_.atoms())};
  energy_ = to_double(call(method, flags, atoms_and_pairs(), results));
}

std::array<PyRef, 10> PairUnified::atoms_and_pairs() const {
  const int atoms = neighbors_.atoms(), centres = neighbors_.centres(), pairs = neighbors_.pairs();
  return {checked(PyLong_FromLong(neighbors_.local())),
          neighbors_.elements.rows(atoms),
          neighbors_.tags.rows(atoms),
          neighbors_.centre_atoms.rows(centres),
          neighbors_.centre_elements.rows(centres),
          neighbors_.centre_pairs.rows(centres),
          neighbors_.pair_i.rows(pairs),
          neighbors_.pair_j.rows(pairs),
          neighbors_.pair_elements.rows(pairs),
          neighbors_.vectors.rows(pairs)};
}

void PairUnified::call_model_on_lists(int vflag) {
  static PyObject *method = checked(PyUnicode_InternFromString("compute_lists")).release();
  const int local = neighbors_.local();
  const std::array<PyRef, 2> flags = {checked(PyLong_FromLong(vflag)), checked(PyBool_FromLong(lists_changed_))};
  const std::array<PyRef, 2> results = {atom_energies_.rows(local), forces_.rows(local)};
  lists_changed_ = false;
  energy_ = to_double(call(method, flags, atoms_and_lists(), results));
}

std::array<PyRef, 8> PairUnified::atoms_and_lists() const {
  const int atoms = neighbors_.atoms(), local = neighbors_.local();
  return {cell(),
          periodic(),
          neighbors_.elements.rows(atoms),
          neighbors_.tags.rows(atoms),
          owners_.rows(atoms),
          neighbors_.centre_pairs.rows(local),
          neighbors_.pair_j.rows(neighbors_.pairs()),
          neighbors_.positions.rows(atoms)};
}

// Ghosts learn their owners by forward communication, which needs no atom IDs.
void PairUnified::find_owners() {
  owners_.reserve(neighbors_.atoms());
  for (int row = 0; row < neighbors_.local(); ++row)
    owners_.data()[row] = row;
  exchange_.perform(ExchangeKind::forward, {owners_.data(), 1, false, neighbors_.row_of().data()});
}

// The cell vectors as rows, in LAMMPS' order of h: xx, yy, zz, yz, xz, xy.
PyRef PairUnified::cell() const {
  const double *h = domain->h;
  return checked(Py_BuildValue("((ddd)(ddd)(ddd))", h[0], 0.0, 0.0, h[5], h[1], 0.0, h[4], h[3], h[2]));
}

// 1 for each periodic direction.
PyRef PairUnified::periodic() const {
  return checked(Py_BuildValue("(iii)", domain->xperiodic, domain->yperiodic, domain->zperiodic));
}

void PairUnified::fail_not_finite(const char *quantity, int row) const {
  throw std::runtime_error(not_finite_message(quantity, neighbors_.tags.data()[row], neighbors_.elements.data()[row]));
}

void PairUnified::check_results() const {
  for (int row = 0; row < neighbors_.local(); ++row)
    if (!std::isfinite(atom_energies_.data()[row]))
      fail_not_finite("the energy", row);
  for (int row = 0; row < neighbors_.atoms(); ++row) {
    const double *force = forces_.data() + 3 * std::ptrdiff_t(row);
    if (!std::isfinite(force[0] + force[1] + force[2]))
      fail_not_finite("the force", row);
  }
  if (!std::isfinite(energy_))
    throw std::runtime_error("the total energy of the model in " + file_ + " is not a finite number");
}

void PairUnified::add_results() {
  // With newton off, LAMMPS does no reverse communication of forces, but a model adds forces to ghosts in any case.
  if (!force->newton_pair) {
    exchange_.perform(ExchangeKind::reverse, {forces_.data(), 3, false, neighbors_.row_of().data()});
    if (vflag_atom)
      exchange_.perform(ExchangeKind::reverse, {vatom[0], 6});
  }
  const std::vector<int> &atom_of = neighbors_.atom_of();
  for (int row = 0; row < (force->newton_pair ? neighbors_.atoms() : neighbors_.local()); ++row)
    for (int axis = 0; axis < 3; ++axis)
      atom->f[atom_of[row]][axis] += forces_.data()[3 * std::ptrdiff_t(row) + axis];
  if (eflag_global)
    eng_vdwl += energy_;
  if (eflag_atom)
    for (int row = 0; row < neighbors_.local(); ++row)
      eatom[atom_of[row]] += atom_energies_.data()[row];
}

// Sums in the order of LAMMPS' MLIAPDataPy, so that results agree to the last digit.
double PairUnified::add_pair_energies(const double *energies) {
  double total = 0.0;
  std::fill_n(atom_energies_.data(), neighbors_.local(), 0.0);
  for (int pair = 0; pair < neighbors_.pairs(); ++pair) {
    const int i = neighbors_.pair_i.data()[pair];
    if (i >= neighbors_.local())
      continue;
    const double half = 0.5 * energies[pair];
    atom_energies_.data()[i] += half;
    total += half;
  }
  return total;
}

void PairUnified::add_pair_forces(const double *forces) {
  const int *pair_i = neighbors_.pair_i.data(), *pair_j = neighbors_.pair_j.data();
  double *sums = forces_.data();
  for (int pair = 0; pair < neighbors_.pairs(); ++pair) {
    const double *force = forces + 3 * std::ptrdiff_t(pair);
    double *on_i = sums + 3 * std::ptrdiff_t(pair_i[pair]), *on_j = sums + 3 * std::ptrdiff_t(pair_j[pair]);
    for (int axis = 0; axis < 3; ++axis) {
      on_i[axis] += force[axis];
      on_j[axis] -= force[axis];
    }
    if (vflag_either)
      tally_virial(pair, force);
  }
}

void PairUnified::add_virial(const double *values) {
  if (vflag_global)
    std::transform(values, values + 6, virial, virial, std::plus<>());
}

void PairUnified::add_atom_virials(const double *values) {
  if (vflag_atom)
    for (int row = 0; row < neighbors_.local(); ++row)
      for (int component = 0; component < 6; ++component)
        vatom[neighbors_.atom_of()[row]][component] += values[6 * std::ptrdiff_t(row) + component];
}

void PairUnified::tally_virial(int pair, const double *force) {
  const double *vector = neighbors_.vectors.data() + 3 * std::ptrdiff_t(pair);
  const double products[] = {-vector[0] * force[0], -vector[1] * force[1], -vector[2] * force[2],
                             -vector[0] * force[1], -vector[0] * force[2], -vector[1] * force[2]};
  if (vflag_global)
    for (int component = 0; component < 6; ++component)
      virial[component] += products[component];
  if (!vflag_atom)
    return;
  for (const int row : {neighbors_.pair_i.data()[pair], neighbors_.pair_j.data()[pair]})
    for (int component = 0; component < 6; ++component)
      vatom[neighbors_.atom_of()[row]][component] += 0.5 * products[component];
}

void PairUnified::exchange(ExchangeKind kind, const FeatureMatrix &features) {
  if (kind == ExchangeKind::edges && neighbor_options_.ghosts)
    throw std::logic_error("edge_exchange needs a neighbour list of local atoms only: pairs of ghosts have no reverse "
                           "pair on another rank. "
                           "Declare ghost_layers or call edge_exchange, not both");
  FeatureMatrix rows = features;
  rows.row_of = neighbors_.row_of().data();
  exchange_.request(kind, rows);
}

int PairUnified::pack_forward_comm(int count, int *atoms, double *buffer, int, int *) {
  return exchange_.pack_forward(count, atoms, buffer);
}

void PairUnified::unpack_forward_comm(int count, int first, double *buffer) {
  exchange_.unpack_forward(count, first, buffer);
}

int PairUnified::pack_reverse_comm(int count, int first, double *buffer) {
  return exchange_.pack_reverse(count, first, buffer);
}

void PairUnified::unpack_reverse_comm(int count, int *atoms, double *buffer) {
  exchange_.unpack_reverse(count, atoms, buffer);
}

double PairUnified::memory_usage() {
  return Pair::memory_usage() + neighbors_.bytes() + atom_energies_.bytes() + forces_.bytes() + owners_.bytes() +
         targets_.bytes();
}

}    // namespace fitsnap_nn
