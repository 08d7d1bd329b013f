"""Click ids of a page: which one of several counts, and what of it lands."""

import pytest

from gtm_dagster.taxonomy.touch import AD_CLICK_IDS, FAINT_CLICK_IDS, MAIL_CLICK_IDS, Touch, normal_touch


@pytest.mark.parametrize(
    ("query", "click_id"),
    [
        pytest.param("gad_source=1&gclid=Cj1", "gclid=Cj1", id="the click itself before its campaign"),
        pytest.param("srsltid=Af1&gclid=Cj1", "gclid=Cj1", id="the paid click before the free offer"),
        pytest.param("srsltid=Af1", "srsltid=Af1", id="a free offer alone"),
        pytest.param("gad_source=1&gad_campaignid=2", "gad_source=1", id="the first of two faint ones"),
        pytest.param("gclid=Cj1&gad_source=1&fbclid=Iw1", "gclid=Cj1", id="the first of two clicks"),
        pytest.param("ScCid=a%2Fb", "sccid=a/b", id="names in any case, values decoded"),
        pytest.param("mc_cid=9&mc_eid=ab12", "mc_cid", id="of a mailing the name alone"),
        pytest.param("_hsenc=p2ANqtz-&_hsmi=3", "_hsenc", id="an id of a person of a list stays away"),
        pytest.param("irclickid=x&utm_id=7", "irclickid=x", id="a network of partners"),
        pytest.param("gclid=", None, id="without a value"),
        pytest.param("clid=1", None, id="not listed"),
    ],
)
def test_which_click_id_of_a_page_lands(query, click_id):
    assert normal_touch(Touch(page_url=f"https://acme.example/?{query}")).click_id == click_id


@pytest.mark.parametrize(
    ("sent", "lands"),
    [
        ("mc_eid=ab12", "mc_eid"),
        ("MC_EID: ab12", "mc_eid"),
        ("gclid=Cj1", "gclid=Cj1"),
        ("Cj0KCQiAzZL-BRDnARIs", "Cj0KCQiAzZL-BRDnARIs"),
        ("mc_eid", "mc_eid"),
    ],
)
def test_a_click_id_that_a_sender_names_lands_as_sent_but_for_ids_of_mailings(sent, lands):
    assert normal_touch(Touch(click_id=sent)).click_id == lands


def test_a_click_id_is_of_one_kind():
    kinds = (AD_CLICK_IDS, FAINT_CLICK_IDS, MAIL_CLICK_IDS)
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))


@pytest.mark.parametrize(
    ("value", "campaign"),
    [
        ("spring+sale", "spring sale"),
        ("ann+news@example.org", "ann+news@example.org"),
        ("to+a+b%40c.org", "to a+b@c.org"),
        ("ann+@example.org", "ann+@example.org"),
        ("follow+us+@brand", "follow us @brand"),
        ("noon+sale+at+8%40the+shop", "noon sale at 8@the shop"),
    ],
)
def test_a_plus_is_a_blank_but_inside_an_address(value, campaign):
    """Half of the address landed, as the mask knew the other half alone."""
    assert normal_touch(Touch(page_url=f"https://acme.example/?utm_campaign={value}")).campaign == campaign
