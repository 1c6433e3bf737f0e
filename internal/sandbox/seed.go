package sandbox

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The parts that made-up people and companies are put together from.
const (
	firstNames = "Ada Bela Carla Dmitri Elif Farid Greta Hugo Ines Jonas Kaya Leon Mira Nils Olga Pavel Quirin Rosa Sami Tilda Umut Vera Wanda Xenia Yara Zeno Amara Bruno Chidi Daria"
	lastNames  = "Abelard Birkenau Castellan Dornfeld Eichner Falkenrath Grunwald Hollander Ivarsson Jansky Kaltenbach Lindqvist Morgenroth Nakano Oberholt Petrescu Quandt Rosenhain Silberman Tannhof Ulbrich Varga Westergaard Xanthos Yilmaz Zumwald"
	companyA   = "Amber Boreal Cobalt Dune Ember Fjord Granite Harbor Indigo Juniper Krypton Lumen Meadow Nimbus Opal Pioneer Quarry Ridge Summit Tidal"
	companyB   = "Analytics Bikes Coffee Dental Energy Foods Garden Health Insurance Joinery Kitchens Logistics Media Networks Optics Printing Robotics Software Textiles Ventures"
	jobTitles  = "Engineer,Head of Sales,Marketing Manager,Founder,Office Manager,Buyer,Consultant,Product Manager,Accountant,Support Lead"
	cities     = "Aalborg,Bremen,Cork,Dijon,Exeter,Faro,Gdansk,Haarlem,Izmir,Jena"
)

// seedStart is the creation time of the first seeded object. Seeds do not
// depend on the clock, so that tests can rely on them.
func seedStart() time.Time { return time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC) }

// seeder makes the same data for the same portal every time.
type seeder struct {
	rand *rand.Rand
	at   time.Time
}

// seed fills the tables of a portal.
func seed(p *Portal, types schema) map[string]*table {
	s := &seeder{rand: rand.New(rand.NewPCG(uint64(p.HubID), 1)), at: seedStart()}
	tables := map[string]*table{
		"contacts":  newTable(types["contacts"], 101),
		"companies": newTable(types["companies"], 5001),
		"deals":     newTable(types["deals"], 9001),
	}
	companies := make([]string, 0, p.Contacts/5)
	for i := range p.Contacts / 5 {
		company := s.company(i)
		companies = append(companies, company["name"])
		s.add(tables["companies"], company)
	}
	for i := range p.Contacts {
		s.add(tables["contacts"], s.contact(i, companies))
	}
	for i := range p.Contacts / 2 {
		s.add(tables["deals"], s.deal(i))
	}
	return tables
}

// add inserts an object some minutes after the one before.
func (s *seeder) add(t *table, values map[string]string) {
	s.at = s.at.Add(time.Duration(1+s.rand.IntN(90)) * time.Minute)
	if _, err := t.insert(values, s.at); err != nil {
		panic("seeding: " + err.Error()) // the numbers in the addresses make them unique
	}
}

func (s *seeder) pick(list, separator string) string {
	parts := strings.Split(list, separator)
	return parts[s.rand.IntN(len(parts))]
}

func (s *seeder) phone() string {
	return fmt.Sprintf("+1 555 01%02d %04d", s.rand.IntN(100), s.rand.IntN(10000))
}

func (s *seeder) company(i int) map[string]string {
	name := s.pick(companyA, " ") + " " + s.pick(companyB, " ")
	domain := strings.ToLower(strings.ReplaceAll(name, " ", "-")) + "-" + strconv.Itoa(i+1) + ".example.com"
	return map[string]string{
		"name": name, "domain": domain, "website": "https://" + domain, "phone": s.phone(),
		"city": s.pick(cities, ","), "industry": strings.ToUpper(s.pick(companyB, " ")),
		"numberofemployees": strconv.Itoa(5 + s.rand.IntN(2000)),
		"annualrevenue":     strconv.Itoa(100_000 * (1 + s.rand.IntN(400))),
	}
}

func (s *seeder) contact(i int, companies []string) map[string]string {
	first, last := s.pick(firstNames, " "), s.pick(lastNames, " ")
	values := map[string]string{
		"firstname": first, "lastname": last,
		"email": strings.ToLower(first+"."+last) + "." + strconv.Itoa(i+1) + "@example.com",
		"phone": s.phone(), "jobtitle": s.pick(jobTitles, ","), "city": s.pick(cities, ","),
		"lifecyclestage": s.pick("subscriber lead opportunity customer", " "),
	}
	if len(companies) > 0 {
		values["company"] = companies[s.rand.IntN(len(companies))]
	}
	if i%3 == 0 {
		values["hs_lead_status"] = s.pick("NEW OPEN IN_PROGRESS CONNECTED", " ")
	}
	return values
}

func (s *seeder) deal(i int) map[string]string {
	closes := seedStart().AddDate(0, 3+s.rand.IntN(12), s.rand.IntN(28))
	return map[string]string{
		"dealname": s.pick(companyA, " ") + " " + s.pick("Renewal,Upgrade,Pilot,Rollout,Workshop", ",") + " " + strconv.Itoa(i+1),
		"amount":   strconv.Itoa(250 * (1 + s.rand.IntN(400))), "closedate": instant(closes), "pipeline": "default",
		"dealstage": s.pick("appointmentscheduled qualifiedtobuy contractsent closedwon closedlost", " "),
		"dealtype":  s.pick("newbusiness existingbusiness", " "),
	}
}
